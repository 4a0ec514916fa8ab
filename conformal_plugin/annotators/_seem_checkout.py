"""From SEEM's checkout, a configuration of it and a checkpoint to a model.

What is driven is branch v1.0 of the repository Segment-Everything-Everywhere-All-At-Once: its
``modeling.build_model``, ``utils.arguments.load_opt_from_config_files`` and
``utils.model.align_and_update_state_dicts``. Nothing of detectron2 or mpi4py is imported here; the
checkout does that.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch

from conformal_plugin.annotators._seem_device import calls_for_cuda_mean
from conformal_plugin.errors import OptionError, SourceFileError

__all__ = ["Built", "build"]

_DEFORMABLE = "MultiScaleDeformableAttention"
"""The compiled operator that the encoder of the SAM-ViT configurations imports."""


class Built(NamedTuple):
    """A model with its weights, and the names of the tensors that were not among them."""

    model: Any
    missing: tuple[str, ...]


def build(
    checkout: str | os.PathLike[str],
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    *,
    family: str,
    place: torch.device,
) -> Built:
    """Build the model and load its weights, with ``weights_only``.

    Args:
        checkout: the clone of SEEM; put first on the module search path.
        config: the YAML file.
        checkpoint: the weights.
        family: ``"seem"`` or ``"xdecoder"``, which the configuration must be of.
        place: where the model runs.

    Raises:
        SourceFileError: no such checkout, configuration or weights; what the checkout's own code
            stumbles over.
        OptionError: a configuration of the other family.
    """
    for path, what in ((config, "configuration"), (checkpoint, "checkpoint")):
        if not Path(path).is_file():
            raise SourceFileError(f"there is no SEEM {what} at {path}; check the path")
    options = _module(checkout, "utils.arguments").load_opt_from_config_files([os.fspath(config)])
    _check_options(options, config, family)
    # What SEEM's own start under MPI would put in for a process on its own.
    options.update(
        CUDA=place.type == "cuda",
        device=place,
        env_info="no MPI",
        rank=0,
        local_rank=place.index or 0,
        world_size=1,
        local_size=1,
    )
    # The SAM-ViT configurations name a file of their author's; the checkpoint replaces its weights.
    options["MODEL"]["BACKBONE"]["LOAD_PRETRAINED"] = False
    modeling = _module(checkout, "modeling")
    try:
        with calls_for_cuda_mean(place):
            model = modeling.build_model(options)
    except Exception as error:  # whatever SEEM's code and its dependencies bring about
        raise SourceFileError(
            f"SEEM cannot build the model of {config} ({type(error).__name__}: {error}); check "
            f"that its own demo starts in this environment"
        ) from error
    missing = _load_weights(model, checkpoint, _module(checkout, "utils.model"))
    return Built(model, missing)


def _check_options(options: Any, config: str | os.PathLike[str], family: str) -> None:
    try:
        name = options["MODEL"]["NAME"]
        encoder = options["MODEL"]["ENCODER"]["NAME"]
        options["MODEL"]["BACKBONE"]["NAME"]
    except (KeyError, TypeError) as error:
        raise SourceFileError(
            f"{config} is no configuration of SEEM's: it lacks {error}; take one of configs/seem "
            f"or configs/xdecoder"
        ) from error
    found = "xdecoder" if name.startswith("xdecoder") else "seem"
    if found != family:
        raise OptionError(
            f"{config} builds {name}, which is not of the annotator {family}; use the annotator "
            f"{found} (load_{found}, --annotator {found}), or another configuration"
        )
    if encoder == "transformer_encoder_deform" and find_spec(_DEFORMABLE) is None:
        raise SourceFileError(
            f"the encoder of {config} needs SEEM's compiled operator {_DEFORMABLE}, which is not "
            f"installed; run `sh make.sh` in modeling/vision/encoder/ops of the checkout (a CUDA "
            f"compiler is needed), or take a configuration with a Focal or DaViT backbone"
        )


def _load_weights(
    model: Any, checkpoint: str | os.PathLike[str], loading: ModuleType
) -> tuple[str, ...]:
    """Load what fits, as SEEM does; returns the names of the tensors that were not there."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        fitting = loading.align_and_update_state_dicts(model.state_dict(), state)
    except Exception as error:  # whatever damaged or foreign files bring about
        raise SourceFileError(
            f"cannot load the SEEM checkpoint {checkpoint} ({type(error).__name__}: {error}); "
            f"download it again, and use the one that belongs to the configuration"
        ) from error
    names = set(model.state_dict())
    missing = tuple(sorted(names - fitting.keys()))
    if 2 * len(missing) > len(names):
        raise SourceFileError(
            f"the SEEM checkpoint {checkpoint} has {len(names) - len(missing)} of the "
            f"{len(names)} tensors that the configuration asks for; use the two that belong "
            f"together"
        )
    model.load_state_dict(fitting, strict=False)
    return missing


def _module(checkout: str | os.PathLike[str], name: str) -> ModuleType:
    """A module of the checkout, which must not be hidden by another of the same name."""
    root = Path(checkout).resolve()
    if not (root / "modeling").is_dir() or not (root / "utils").is_dir():
        raise SourceFileError(
            f"{checkout} is no checkout of SEEM's branch v1.0: it lacks modeling/ or utils/; clone "
            f"https://github.com/UX-Decoder/Segment-Everything-Everywhere-All-At-Once and name "
            f"that folder"
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        module = importlib.import_module(name)
    except Exception as error:  # its dependencies fail in ways of their own, not only to be found
        raise SourceFileError(
            f"SEEM's {name} cannot be imported from {checkout} ({type(error).__name__}: {error}); "
            f"run in the environment that SEEM was installed in, and see docs/annotators.md for "
            f"one that works"
        ) from error
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).resolve().is_relative_to(root):
        raise OptionError(
            f"a module called {name} was imported from {file} before SEEM's; drive SEEM in a "
            f"process of its own"
        )
    return module
