"""Which classes of transformers load a folder, and what it means where they cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import torch

from conformal_plugin.errors import ConformalError, MissingExtraError, OptionError, SourceFileError

__all__ = ["BOX_SEGMENTER", "DETECTOR", "Loaded", "Part", "load", "load_part"]

_UNIVERSAL = ("mask2former", "maskformer", "oneformer")
_SPLIT = ("eomt", "eomt_dinov3")
# The published folder of SAM 3 is that of its video model, whose detector is the model for photos.
_SAM3 = {
    "sam3": "Sam3Model",
    "sam3_video": "Sam3Model",
    "sam3_lite_text": "Sam3LiteTextModel",
}


class Loaded(NamedTuple):
    """A model, its processor, and the kind of driver that it needs."""

    model: Any
    processor: Any
    kind: str


class Part(NamedTuple):
    """What a part of Grounded-SAM is loaded from, by which classes, and how it is spoken of."""

    kinds: tuple[str, ...]
    model: str
    processor: str
    task: str
    makers: str
    example: str


DETECTOR = Part(
    ("grounding-dino", "mm-grounding-dino"),
    "AutoModelForZeroShotObjectDetection",
    "AutoProcessor",
    "boxes come from",
    "Grounding DINO or MM-Grounding-DINO",
    "IDEA-Research/grounding-dino-tiny",
)
BOX_SEGMENTER = Part(
    # As of SAM 3: the published folder is the video model's, in which the model for photos lies.
    ("sam2", "sam2_video"),
    "Sam2Model",
    "Sam2Processor",
    "masks of boxes come from",
    "SAM 2",
    "facebook/sam2.1-hiera-tiny",
)


def load(name: str) -> Loaded:
    """Load a segmentation model and its processor, from a folder or by name.

    Raises:
        MissingExtraError: transformers is not installed.
        SourceFileError: the model cannot be loaded.
        OptionError: a kind of model that this does not drive.
    """
    transformers = _transformers()
    with _blaming(name):
        config = transformers.AutoConfig.from_pretrained(name)
        model, processor, kind = _classes(transformers, config)
        return Loaded(model.from_pretrained(name), processor.from_pretrained(name), kind)


def load_part(name: str, part: Part) -> tuple[Any, Any]:
    """Load a part of Grounded-SAM and its processor, from a folder or by name.

    Raises:
        MissingExtraError: transformers is not installed.
        SourceFileError: the model cannot be loaded.
        OptionError: a model of another kind.
    """
    transformers = _transformers()
    with _blaming(name):
        kind = transformers.AutoConfig.from_pretrained(name).model_type
        if kind not in part.kinds:
            raise OptionError(
                f"{part.task} {part.makers}, and {name} is a model of type {kind!r}; name one, "
                f"such as {part.example}"
            )
        model, processor = (getattr(transformers, which) for which in (part.model, part.processor))
        return model.from_pretrained(name), processor.from_pretrained(name)


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Whatever transformers raises, as an error that says what is to blame for it.

    Raises:
        SourceFileError: in place of transformers' own.
    """
    try:
        yield
    except ConformalError:
        raise
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        problem = _torchvision_problem()
        if problem:
            raise SourceFileError(
                f"transformers cannot load the model {name}, because {problem}"
            ) from error
        remedy = (
            "; ask for access on the model's page, make a token, and log in with: hf auth login"
            if _is_gated(error)
            else ""
        )
        raise SourceFileError(
            f"transformers cannot load the model {name} ({type(error).__name__}: {error}){remedy}"
        ) from error


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            f"models of Hugging Face need the package transformers, which is not installed "
            f'({error}); install it with: pip install "conformal-plugin[transformers]"'
        ) from error
    return transformers


def _classes(transformers: Any, config: Any) -> tuple[Any, Any, str]:
    """The classes of model and processor for this configuration, and which kind it is."""
    kind = config.model_type
    auto = transformers.AutoProcessor
    if kind == "clipseg":
        return transformers.CLIPSegForImageSegmentation, auto, kind
    if kind in _SAM3 and hasattr(transformers, _SAM3[kind]):
        return getattr(transformers, _SAM3[kind]), transformers.Sam3Processor, "sam3"
    universal = transformers.AutoModelForUniversalSegmentation
    if kind in _UNIVERSAL:
        return universal, auto, "universal"
    if kind in _SPLIT and type(config) in universal._model_mapping:
        return universal, auto, "eomt"
    dense = transformers.AutoModelForSemanticSegmentation
    if type(config) in dense._model_mapping:
        return dense, auto, "dense"
    raise OptionError(
        f"a model of type {kind!r} is none that transformers {transformers.__version__} and this "
        f"driver know as universal (Mask2Former, MaskFormer, OneFormer, EoMT), dense "
        f"(SegFormer, UperNet, BEiT, DPT) or text-prompted (CLIPSeg, SAM 3); use a function of "
        f"yours: MODULE:FUNCTION"
    )


def _torchvision_problem() -> str:
    """Why torchvision, which is installed, cannot be imported; empty where it is not to blame.

    Transformers then fails at the import of any model, and its message blames the model.
    """
    try:
        installed = version("torchvision")
    except PackageNotFoundError:
        return ""
    try:
        import_module("torchvision")
    except Exception as error:  # RuntimeError, OSError, ImportError: whatever a foreign build does
        return (
            f"torchvision {installed} does not match torch {torch.__version__} "
            f"({type(error).__name__}: {error}); install the two that belong together, from the "
            f"same index, or uninstall torchvision where the model needs none"
        )
    return ""


def _is_gated(error: BaseException | None) -> bool:
    """Whether the hub has the model for those alone who asked for it."""
    while error is not None:
        if type(error).__name__ == "GatedRepoError":
            return True
        error = error.__cause__
    return False
