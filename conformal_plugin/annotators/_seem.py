"""SEEM as an annotator, driven from the user's own checkout, checkpoint and environment.

What is driven is branch v1.0 of the repository Segment-Everything-Everywhere-All-At-Once: its
``modeling.build_model``, ``utils.arguments.load_opt_from_config_files`` and
``utils.model.align_and_update_state_dicts``. Nothing of detectron2 or mpi4py is imported here; the
checkout does that.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from conformal_plugin._extras import optional
from conformal_plugin.annotators._background import with_background
from conformal_plugin.annotators._class_lists import ClassList
from conformal_plugin.annotators._protocol import Photo
from conformal_plugin.annotators._weights import file_digest
from conformal_plugin.errors import OptionError, ShapeError, SourceFileError

__all__ = ["SHORT_SIDE", "SeemAnnotator", "load_seem"]

SHORT_SIDE = 512
"""Pixels of the short side of the images that SEEM expects."""
_NO_OBJECT = "background"
"""SEEM's text for a query without an object, asked for last; it gives no channel."""


def load_seem(
    checkout: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    classes: ClassList,
    background: str = "prompt",
    device: str = "cuda",
    amp: str | None = None,
) -> SeemAnnotator:
    """Build SEEM from its checkout and load its weights, with ``weights_only``.

    Args:
        checkout: the clone of SEEM, branch v1.0; its packages ``modeling`` and ``utils`` must be
            importable in this environment. It is put first on the module search path.
        config: the YAML file that belongs to the weights.
        checkpoint: the weights, a ``.pt`` with a state dict.
        classes: the classes to look for, with their prompts.
        background: one of :data:`conformal_plugin.annotators.BACKGROUND_RULES`.
        device: where it runs; SEEM itself works on CUDA devices alone.
        amp: ``"float16"`` or ``"bfloat16"`` for automatic mixed precision, as SEEM's demo has it.

    Raises:
        SourceFileError: no such checkout, configuration or weights; weights that hold more than
            tensors, or that belong to another configuration.
        OptionError: classes that do not fit the background rule.
    """
    classes.asked(background)  # refuses what does not fit before a model is loaded
    for path, what in ((config, "configuration"), (checkpoint, "checkpoint")):
        if not Path(path).is_file():
            raise SourceFileError(f"there is no SEEM {what} at {path}; check the path")
    arguments = _module(checkout, "utils.arguments")
    place = torch.device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)  # SEEM calls .cuda() without saying which
    options = arguments.load_opt_from_config_files([os.fspath(config)])
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
    model = _module(checkout, "modeling").build_model(options)
    missing = _load_weights(model, checkpoint, _module(checkout, "utils.model"))
    annotator = SeemAnnotator(
        model,
        classes=classes,
        background=background,
        device=device,
        amp=amp,
        weights={"checkpoint": file_digest(checkpoint), "config": file_digest(config)},
    )
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        annotator.notes = (f"tensors that are not in the checkpoint, {len(missing)}: {shown}",)
    return annotator


class SeemAnnotator:
    """A SEEM model as an annotator; made by :func:`load_seem`, or from a model that is there.

    SEEM adds up, over its queries, class probability times mask probability, so that scores can
    exceed 1; they are limited to [0, 1], which also cuts what bicubic resizing overshoots.
    The prompts of one class are added before.

    Args:
        model: what SEEM's ``build_model`` returns, weights loaded.
        classes: the classes to look for, with their prompts.
        background: one of :data:`conformal_plugin.annotators.BACKGROUND_RULES`. With
            ``"prompt"``, give the class words that SEEM knows, such as wall, sky, grass: the word
            background alone is also SEEM's text for "no object", and shares its probability.
        device: where it runs.
        amp: ``"float16"`` or ``"bfloat16"`` for automatic mixed precision.
        weights: what tells the weights from others.

    Attributes:
        class_names: the K classes.
        fingerprint: weights, prompts, background rule, image size and mixed precision.
        notes: what the user should know, in sentences.
    """

    def __init__(
        self,
        model: Any,
        *,
        classes: ClassList,
        background: str = "prompt",
        device: str = "cuda",
        amp: str | None = None,
        weights: dict[str, str] | None = None,
    ) -> None:
        asked = classes.asked(background)
        self.class_names = classes.class_names
        self.background = background
        self.fingerprint: dict[str, Any] = {
            "annotator": "seem",
            **(weights or {}),
            "prompts": dict(zip(asked.class_names, map(list, asked.prompts))),
            "background": background,
            "short_side": SHORT_SIDE,
            "amp": amp,
        }
        self.notes: tuple[str, ...] = ()
        self._counts = [len(words) for words in asked.prompts]
        self._device = torch.device(device)
        self._dtype = None if amp is None else getattr(torch, amp)
        self._model = model.to(self._device).eval()
        self._ask([word for words in asked.prompts for word in words])

    def annotate(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Class scores ``(K, H, W)`` of each photo, float32 on the model's device.

        Photos of one size go through the model together: SEEM fills up others to the largest, and
        a photo's scores must not depend on its neighbours' sizes.
        """
        places: dict[tuple[int, ...], list[int]] = {}
        for place, photo in enumerate(photos):
            places.setdefault(photo.shape, []).append(place)
        maps: dict[int, Tensor] = {}
        for group in places.values():
            results = self._run([photos[place] for place in group])
            for place, result in zip(group, results):
                scores = self._fitted(result, photos[place])
                maps[place] = with_background(scores, self.background)
        return [maps[place] for place in range(len(photos))]

    def _ask(self, words: list[str]) -> None:
        """Set SEEM's classes: their text, their number, and the metadata to match."""
        model = self._model
        with torch.inference_mode():
            model.sem_seg_head.predictor.lang_encoder.get_text_embeddings(
                [*words, _NO_OBJECT], is_eval=True
            )
        model.sem_seg_head.num_classes = len(words)
        model.metadata = SimpleNamespace(
            stuff_classes=words,
            thing_classes=[],
            stuff_dataset_id_to_contiguous_id={i: i for i in range(len(words))},
            thing_dataset_id_to_contiguous_id={},
        )
        # Only the semantic result is used; the others cost time and need other metadata.
        model.semantic_on, model.panoptic_on, model.instance_on = True, False, False

    def _run(self, photos: Sequence[Photo]) -> list[dict[str, Tensor]]:
        inputs = [
            {
                "image": _sized(photo).to(self._device),
                "height": photo.shape[0],
                "width": photo.shape[1],
            }
            for photo in photos
        ]
        mixed: Any = nullcontext()
        if self._dtype is not None:
            mixed = torch.autocast(self._device.type, self._dtype)
        with torch.inference_mode(), mixed:
            results: list[dict[str, Tensor]] = self._model(inputs)
        return results

    def _fitted(self, result: dict[str, Tensor], photo: Photo) -> Tensor:
        """One channel a class at the photo's size, limited to [0, 1]."""
        sums = result["sem_seg"].float()
        if len(sums) != sum(self._counts):
            raise ShapeError(
                f"SEEM gave {len(sums)} channels for {sum(self._counts)} prompts; drive a checkout "
                f"of its branch v1.0"
            )
        if tuple(sums.shape[1:]) != photo.shape[:2]:
            sums = interpolate(
                sums[None], size=photo.shape[:2], mode="bilinear", align_corners=False
            )[0]
        parts = torch.split(sums, self._counts)
        return torch.stack([part.sum(dim=0) for part in parts]).clamp(0, 1)


def _sized(photo: Photo) -> Tensor:
    """``(3, h, w)`` uint8 with the short side at ``SHORT_SIDE``, bicubic."""
    height, width = photo.shape[:2]
    short = min(height, width)
    size = (SHORT_SIDE * height // short, SHORT_SIDE * width // short)
    pillow = optional("PIL.Image", "Pillow", "resizing photos for SEEM")
    image = pillow.fromarray(photo).resize(size[::-1], pillow.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


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
    except ImportError as error:
        raise SourceFileError(
            f"SEEM's {name} cannot be imported from {checkout} ({error}); run in the environment "
            f"that SEEM was installed in"
        ) from error
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).resolve().is_relative_to(root):
        raise OptionError(
            f"a module called {name} was imported from {file} before SEEM's; drive SEEM in a "
            f"process of its own"
        )
    return module
