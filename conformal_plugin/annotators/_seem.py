"""SEEM and X-Decoder as annotators, driven from the user's own checkout and environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from conformal_plugin.annotators._background import with_background
from conformal_plugin.annotators._class_list import ClassList
from conformal_plugin.annotators._protocol import Photo
from conformal_plugin.annotators._seem_checkout import build
from conformal_plugin.annotators._seem_device import (
    calls_for_cuda_mean,
    check_mixed_precision,
    place_of,
)
from conformal_plugin.annotators._seem_sizes import (
    LARGEST,
    SHORT_SIDE,
    asked_size,
    long_side_of,
    sized,
)
from conformal_plugin.annotators._weights import file_digest
from conformal_plugin.errors import OptionError, ShapeError

__all__ = ["SeemAnnotator", "load_seem", "load_xdecoder"]

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
    short_side: int = SHORT_SIDE,
    long_side: int | None = None,
) -> SeemAnnotator:
    """Build SEEM from its checkout and load its weights, with ``weights_only``.

    Args:
        checkout: the clone of SEEM, branch v1.0; its packages ``modeling`` and ``utils`` must be
            importable in this environment. It is put first on the module search path.
        config: the YAML file that belongs to the weights, of ``configs/seem``.
        checkpoint: the weights, a ``.pt`` with a state dict.
        classes: the classes to look for, with their prompts.
        background: one of :data:`conformal_plugin.annotators.BACKGROUND_RULES`.
        device: where it runs. SEEM asks for CUDA by itself; on ``"cpu"`` these calls are answered
            with the CPU.
        amp: ``"float16"`` or ``"bfloat16"`` for automatic mixed precision, as SEEM's demo has it.
        short_side: pixels of the short side of what SEEM sees: 512 in its demo, 800 with a
            ``long_side`` of 1333 in its evaluation.
        long_side: bound on the long side. A SAM-ViT backbone takes 1024 at most, whatever is said
            here.

    Raises:
        SourceFileError: no such checkout, configuration or weights; weights that hold more than
            tensors, or that belong to another configuration; what SEEM's own code stumbles over.
        OptionError: classes that do not fit the background rule or hold SEEM's text for no object;
            a configuration of X-Decoder's; a GPU that is not there; a mixed precision that does
            not work there.
    """
    return _loaded(
        "seem",
        checkout,
        config,
        checkpoint,
        classes=classes,
        background=background,
        device=device,
        amp=amp,
        short_side=short_side,
        long_side=long_side,
    )


def load_xdecoder(
    checkout: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    classes: ClassList,
    background: str = "prompt",
    device: str = "cuda",
    amp: str | None = None,
    short_side: int = SHORT_SIDE,
    long_side: int | None = None,
) -> SeemAnnotator:
    """Build X-Decoder from SEEM's checkout, as :func:`load_seem` builds SEEM.

    Args:
        checkout: the clone of SEEM, branch v1.0, which holds X-Decoder, too.
        config: the YAML file that belongs to the weights, of ``configs/xdecoder``.
        checkpoint: the weights, a ``.pt`` with a state dict.
        classes: the classes to look for, with their prompts.
        background: one of :data:`conformal_plugin.annotators.BACKGROUND_RULES`.
        device: where it runs.
        amp: ``"float16"`` or ``"bfloat16"`` for automatic mixed precision.
        short_side: pixels of the short side of what X-Decoder sees.
        long_side: bound on the long side.

    Raises:
        SourceFileError: as of :func:`load_seem`.
        OptionError: as of :func:`load_seem`; a configuration of SEEM's.
    """
    return _loaded(
        "xdecoder",
        checkout,
        config,
        checkpoint,
        classes=classes,
        background=background,
        device=device,
        amp=amp,
        short_side=short_side,
        long_side=long_side,
    )


def _loaded(
    family: str,
    checkout: str | os.PathLike[str],
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    **settings: Any,
) -> SeemAnnotator:
    # What does not fit is refused before a model is loaded.
    _asked(settings["classes"], settings["background"])
    place = place_of(settings["device"])
    check_mixed_precision(settings["amp"], place)
    built = build(checkout, config, checkpoint, family=family, place=place)
    weights = {"checkpoint": file_digest(checkpoint), "config": file_digest(config)}
    annotator = SeemAnnotator(built.model, weights=weights, **settings)
    annotator.fingerprint["annotator"] = family
    if built.missing:
        shown = ", ".join(built.missing[:5]) + (", ..." if len(built.missing) > 5 else "")
        annotator.notes = (
            f"tensors that are not in the checkpoint, {len(built.missing)}: {shown}",
        )
    return annotator


class SeemAnnotator:
    """A SEEM or X-Decoder model as an annotator; made by :func:`load_seem`, or from a model.

    SEEM brings the masks of its queries to the photo's size and adds up, over them, class
    probability times mask probability, so that scores can exceed 1; they are limited to [0, 1].
    The prompts of one class are added before. Photos of more than 2,097,152 pixels get scores of
    that many, brought to their size: SEEM's masks take memory by the pixel.

    Args:
        model: what SEEM's ``build_model`` returns, weights loaded.
        classes: the classes to look for, with their prompts.
        background: one of :data:`conformal_plugin.annotators.BACKGROUND_RULES`. With
            ``"prompt"``, give the class words that SEEM knows, such as wall, sky, grass, as the
            list ``"voc-stuff"`` has them: the word background is SEEM's text for "no object".
        device: where it runs.
        amp: ``"float16"`` or ``"bfloat16"`` for automatic mixed precision.
        short_side: pixels of the short side of what the model sees.
        long_side: bound on the long side.
        weights: what tells the weights from others.

    Attributes:
        class_names: the K classes.
        fingerprint: weights, prompts, background rule, sizes and mixed precision.
        notes: what the user should know, in sentences.

    Raises:
        OptionError: classes that do not fit the background rule or hold SEEM's text for no object;
            a GPU that is not there; a mixed precision that does not work there; sides that are
            none.
    """

    def __init__(
        self,
        model: Any,
        *,
        classes: ClassList,
        background: str = "prompt",
        device: str = "cuda",
        amp: str | None = None,
        short_side: int = SHORT_SIDE,
        long_side: int | None = None,
        weights: dict[str, str] | None = None,
    ) -> None:
        asked = _asked(classes, background)
        self.class_names = classes.class_names
        self.background = background
        self._device = place_of(device)
        check_mixed_precision(amp, self._device)
        self._dtype = None if amp is None else getattr(torch, amp)
        self._short_side = short_side
        self._long_side = long_side_of(model, short_side, long_side)
        self.fingerprint: dict[str, Any] = {
            "annotator": "seem",
            **(weights or {}),
            "prompts": dict(zip(asked.class_names, map(list, asked.prompts))),
            "background": background,
            "short_side": short_side,
            "long_side": self._long_side,
            "largest": LARGEST,
            "amp": amp,
        }
        self.notes: tuple[str, ...] = ()
        self._counts = [len(words) for words in asked.prompts]
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
        with torch.inference_mode(), calls_for_cuda_mean(self._device):
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
        inputs = []
        for photo in photos:
            height, width = asked_size(photo)
            image = sized(photo, self._short_side, self._long_side).to(self._device)
            inputs.append({"image": image, "height": height, "width": width})
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
        parts = torch.split(sums, self._counts)
        scores = torch.stack([part.sum(dim=0) for part in parts]).clamp(0, 1)
        if tuple(scores.shape[1:]) == photo.shape[:2]:
            return scores
        size = photo.shape[:2]
        return interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0]


def _asked(classes: ClassList, background: str) -> ClassList:
    """The classes that SEEM is asked for.

    Raises:
        OptionError: they do not fit the rule, or one is asked for by SEEM's text for no object.
    """
    asked = classes.asked(background)
    for name, words in zip(asked.class_names, asked.prompts):
        if any(word.strip().lower() == _NO_OBJECT for word in words):
            raise OptionError(
                f"class {name} would be asked for by the word {_NO_OBJECT}, which is SEEM's text "
                f'for "no object": the two would share its probability. Name what is behind the '
                f"objects (the class list voc-stuff does, or a file with "
                f'{{"background": ["wall", "sky", "grass"], ...}}), or use the background rule '
                f"complement"
            )
    return asked
