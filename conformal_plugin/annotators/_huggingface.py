"""Segmentation models of Hugging Face transformers as annotators."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from conformal_plugin.annotators._background import with_background
from conformal_plugin.annotators._class_list import ClassList
from conformal_plugin.annotators._class_mapping import map_classes
from conformal_plugin.annotators._protocol import Photo
from conformal_plugin.annotators._transformers_fixed import Dense, Eomt, Universal
from conformal_plugin.annotators._transformers_loading import load
from conformal_plugin.annotators._transformers_prompted import ClipSeg, Sam3
from conformal_plugin.annotators._transformers_run import ModelRun
from conformal_plugin.annotators._weights import weights_digest
from conformal_plugin.errors import OptionError

__all__ = ["TransformersAnnotator", "load_transformers"]

_TEXT_PROMPTED = ("clipseg", "sam3")
_HEADS: dict[str, type[Universal] | type[Eomt] | type[Dense]] = {
    "universal": Universal,
    "eomt": Eomt,
    "dense": Dense,
}
_FILLED_UP = ("universal", "eomt")
"""Kinds whose drivers undo what the processor did to a photo besides resizing it."""


def load_transformers(
    model: str | os.PathLike[str],
    *,
    classes: ClassList,
    background: str = "complement",
    device: str = "cpu",
    amp: str | None = None,
    compile_model: bool = False,
    synonyms: Mapping[str, Sequence[str]] | None = None,
) -> TransformersAnnotator:
    """Load a segmentation model and its processor, from a folder or by name.

    Universal models (Mask2Former, MaskFormer, OneFormer, EoMT): a class's score is the sum over
    queries of class probability times mask probability, limited to 1. Dense heads (SegFormer,
    UperNet, BEiT, DPT and others): the softmax over the model's classes. Text-prompted ones: the
    sigmoid of CLIPSeg's map, or SAM 3's instances, the largest of presence times score times mask.
    SAM 3 loads as published (the folder of its video model) and in its form with a light text
    encoder.

    Args:
        model: what ``from_pretrained`` takes.
        classes: the classes to look for.
        background: one of :data:`conformal_plugin.annotators.BACKGROUND_RULES`.
        device: where the model runs.
        amp: ``"float16"`` or ``"bfloat16"`` for automatic mixed precision.
        compile_model: whether the model goes through ``torch.compile``; dense heads alone.
        synonyms: which of the model's classes make a wanted one, see :func:`read_synonyms`. Not
            for text-prompted models, which are asked for the prompts of ``classes``.

    Raises:
        MissingExtraError: transformers is not installed.
        SourceFileError: the model cannot be loaded.
        OptionError: a kind of model that this does not drive, or classes that do not fit.
    """
    classes.asked(background)  # refuses what does not fit before a model is loaded
    return TransformersAnnotator(
        *load(os.fspath(model)),
        classes=classes,
        background=background,
        device=device,
        amp=amp,
        compile_model=compile_model,
        synonyms=synonyms,
    )


class TransformersAnnotator:
    """A model of transformers with its processor; made by :func:`load_transformers`.

    Attributes:
        class_names: the K classes.
        background: how background is formed.
        fingerprint: architecture, digest of the weights, classes or prompts, background rule and
            mixed precision.
        notes: how the model's classes were matched, in sentences for the user.

    Raises:
        OptionError: a kind of model that this does not drive, or classes that do not fit.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        kind: str,
        *,
        classes: ClassList,
        background: str = "complement",
        device: str = "cpu",
        amp: str | None = None,
        compile_model: bool = False,
        synonyms: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        asked = classes.asked(background)
        self.class_names = classes.class_names
        self.background = background
        self.fingerprint: dict[str, Any] = {
            "annotator": "transformers",
            "architecture": type(model).__name__,
            "weights": weights_digest(model),
            "background": background,
            "amp": amp,
        }
        self.notes: tuple[str, ...] = ()
        self._scores: Callable[[Sequence[Photo]], list[Tensor]]
        if kind not in _FILLED_UP:
            _refuse_cropping(processor)
        if compile_model:  # scores differ in their last bits
            self.fingerprint["compiled"] = True
            _refuse_compiling_of(model, kind)
        run = ModelRun(model, processor, device, amp, compile_it=compile_model)
        if kind in _TEXT_PROMPTED:
            if synonyms is not None:
                raise OptionError(
                    f"{type(model).__name__} is asked in words and has no classes of its own; put "
                    f"the words into the class list instead of a synonym table"
                )
            self.fingerprint["prompts"] = dict(zip(asked.class_names, map(list, asked.prompts)))
            prompted = ClipSeg if kind == "clipseg" else Sam3
            self._scores = prompted(run, asked).scores
        else:
            labels = _labels(model.config)
            mapping = map_classes(asked, labels, synonyms)
            self.notes = mapping.notes
            self.fingerprint["classes"] = mapping.table
            self._scores = _HEADS[kind](run, mapping).scores

    def annotate(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Class scores ``(K, H, W)`` of each photo, float32 on the model's device.

        Photos that the processor brings to one size go through the model together, but for SAM 3.
        """
        return [
            with_background(scores.clamp(0, 1), self.background) for scores in self._scores(photos)
        ]


def _refuse_compiling_of(model: Any, kind: str) -> None:
    """Refuse models whose work is several calls, or one that is compiled again for every size.

    Raises:
        OptionError: another model than one that gives shares.
    """
    if kind != "dense":
        raise OptionError(
            f"{type(model).__name__} cannot be compiled here; leave --compile out, which is for "
            f"models whose scores are shares of their own classes, as SegFormer's"
        )


def _refuse_cropping(processor: Any) -> None:
    """Refuse a processor whose result is not the whole photo and nothing else.

    Raises:
        OptionError: scores would lie in the wrong place.
    """
    images = getattr(processor, "image_processor", processor)
    for option in ("do_center_crop", "do_pad"):
        if getattr(images, option, False):
            raise OptionError(
                f"the model's processor has {option}, so that its scores would not lie over the "
                f"photo; set it to false in preprocessor_config.json"
            )


def _labels(config: Any) -> tuple[str, ...]:
    names = config.id2label
    return tuple(names[index] for index in sorted(names))
