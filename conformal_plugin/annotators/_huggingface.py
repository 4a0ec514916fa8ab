"""Segmentation models of Hugging Face transformers as annotators."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from conformal_plugin.annotators._background import with_background
from conformal_plugin.annotators._class_lists import ClassList
from conformal_plugin.annotators._class_mapping import ClassMapping, map_classes, read_synonyms
from conformal_plugin.annotators._protocol import Photo
from conformal_plugin.annotators._weights import weights_digest
from conformal_plugin.errors import ConformalError, MissingExtraError, OptionError, SourceFileError

__all__ = ["TransformersAnnotator", "load_transformers", "read_synonyms"]

_TEXT_PROMPTED = ("clipseg", "sam3")
_UNIVERSAL = ("mask2former", "maskformer", "oneformer")


def load_transformers(
    model: str | os.PathLike[str],
    *,
    classes: ClassList,
    background: str = "complement",
    device: str = "cpu",
    amp: str | None = None,
    synonyms: Mapping[str, Sequence[str]] | None = None,
) -> TransformersAnnotator:
    """Load a segmentation model and its processor, from a folder or by name.

    Universal models (Mask2Former, MaskFormer, OneFormer): a class's score is the sum over
    queries of class probability times mask probability, limited to 1. Dense heads (SegFormer,
    UperNet, BEiT, DPT and others): the softmax over the model's classes. Text-prompted ones: the
    sigmoid of CLIPSeg's map, or SAM 3's instances, the largest of presence times score times mask.

    Args:
        model: what ``from_pretrained`` takes.
        classes: the classes to look for.
        background: one of :data:`conformal_plugin.annotators.BACKGROUND_RULES`.
        device: where the model runs.
        amp: ``"float16"`` or ``"bfloat16"`` for automatic mixed precision.
        synonyms: which of the model's classes make a wanted one, see
            :func:`conformal_plugin.annotators._class_mapping.map_classes`. Not for text-prompted
            models, which are asked for the prompts of ``classes``.

    Raises:
        MissingExtraError: transformers is not installed.
        SourceFileError: the model cannot be loaded.
        OptionError: a kind of model that this does not drive, or classes that do not fit.
    """
    transformers = _transformers()
    name = os.fspath(model)
    classes.asked(background)  # refuses what does not fit before a model is loaded
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        load, kind = _loader(transformers, config)
        loaded = load.from_pretrained(name)
        processor = transformers.AutoProcessor.from_pretrained(name)
    except ConformalError:
        raise
    except (OSError, ValueError, ImportError) as error:
        raise SourceFileError(
            f"transformers cannot load the model {name} ({type(error).__name__}: {error})"
        ) from error
    return TransformersAnnotator(
        loaded,
        processor,
        kind,
        classes=classes,
        background=background,
        device=device,
        amp=amp,
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
        if kind != "universal":
            _refuse_cropping(processor)
        run = _Runner(model, processor, device, amp)
        if kind in _TEXT_PROMPTED:
            if synonyms is not None:
                raise OptionError(
                    f"{type(model).__name__} is asked in words and has no classes of its own; put "
                    f"the words into the class list instead of a synonym table"
                )
            self.fingerprint["prompts"] = dict(zip(asked.class_names, map(list, asked.prompts)))
            prompted = _ClipSeg if kind == "clipseg" else _Sam3
            self._scores = prompted(run, asked).scores
        else:
            labels = _labels(model.config)
            mapping = map_classes(asked, labels, synonyms)
            self.notes = mapping.notes
            self.fingerprint["classes"] = mapping.table
            head = _Universal if kind == "universal" else _Dense
            self._scores = head(run, mapping).scores

    def annotate(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Class scores ``(K, H, W)`` of each photo, float32 on the model's device.

        Photos of one size go through the model together.
        """
        places: dict[tuple[int, ...], list[int]] = {}
        for place, photo in enumerate(photos):
            places.setdefault(photo.shape, []).append(place)
        maps: dict[int, Tensor] = {}
        for group in places.values():
            for place, scores in zip(group, self._scores([photos[place] for place in group])):
                maps[place] = with_background(scores.clamp(0, 1), self.background)
        return [maps[place] for place in range(len(photos))]


class _Runner:
    """A model in evaluation mode on its device, without gradients, in mixed precision if asked."""

    def __init__(self, model: Any, processor: Any, device: str, amp: str | None) -> None:
        self.model = model.eval().to(device)
        self.processor = processor
        self.device = torch.device(device)
        self._dtype = None if amp is None else getattr(torch, amp)

    def __call__(self, **inputs: Any) -> Any:
        """The model's output."""
        with torch.inference_mode(), self.precision():
            return self.model(**inputs)

    def precision(self) -> Any:
        """Mixed precision, or nothing."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self._dtype)

    def prepared(self, photos: Sequence[Photo], **more: Any) -> dict[str, Any]:
        """The processor's tensors on the device."""
        images = [np.ascontiguousarray(photo) for photo in photos]
        prepared = self.processor(images=images, return_tensors="pt", **more)
        return {
            name: value.to(self.device)
            for name, value in prepared.items()
            if isinstance(value, Tensor)
        }


class _Universal:
    """Models that give queries, each with class logits and a mask."""

    def __init__(self, run: _Runner, mapping: ClassMapping) -> None:
        self._run = run
        self._columns = [torch.tensor(m, dtype=torch.long) for m in mapping.members]
        # OneFormer is told its task in words.
        self._more = (
            {"task_inputs": ["semantic"]} if run.model.config.model_type == "oneformer" else {}
        )

    def scores(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Class scores of photos of one size."""
        more = {name: value * len(photos) for name, value in self._more.items()}
        inputs = self._run.prepared(photos, **more)
        valid = inputs.get("pixel_mask")
        known = ("pixel_values", "pixel_mask", "task_inputs")
        outputs = self._run(**{name: inputs[name] for name in known if name in inputs})
        maps = []
        for i, photo in enumerate(photos):
            # The last column is "no object".
            queries = outputs.class_queries_logits[i].float().softmax(dim=-1)[:, :-1]
            columns = torch.stack([queries[:, c].sum(dim=1) for c in self._columns])
            masks = outputs.masks_queries_logits[i].float()
            if valid is not None:
                masks = _unpadded(masks, valid[i])
            masks = _resized(masks, photo).sigmoid()
            maps.append(torch.einsum("kq,qhw->khw", columns, masks))
        return maps


class _Dense:
    """Models that give class logits for every place of a coarse grid."""

    def __init__(self, run: _Runner, mapping: ClassMapping) -> None:
        self._run = run
        self._members = mapping.members

    def scores(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Class scores of photos of one size."""
        inputs = self._run.prepared(photos)
        outputs = self._run(pixel_values=inputs["pixel_values"])
        maps = []
        for logits, photo in zip(outputs.logits, photos):
            shares = _resized(logits.float(), photo).softmax(dim=0)
            maps.append(torch.stack([shares[list(m)].sum(dim=0) for m in self._members]))
        return maps


class _Prompted(ABC):
    """Models that are asked in words, one prompt at a time."""

    tokens = 77
    """Length that their text encoders were trained with."""

    def __init__(self, run: _Runner, asked: ClassList) -> None:
        self._run = run
        self._counts = [len(words) for words in asked.prompts]
        words = [word for words in asked.prompts for word in words]
        tokens = run.processor.tokenizer(
            words,
            padding="max_length",
            max_length=self.tokens,
            truncation=True,
            return_tensors="pt",
        )
        self._tokens = {
            name: tokens[name].to(run.device) for name in ("input_ids", "attention_mask")
        }

    def scores(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Class scores of each photo: the largest of a class's prompts."""
        maps = []
        for photo in photos:
            by_prompt = _resized(self._of_prompts(photo), photo).clamp(0, 1)
            parts = torch.split(by_prompt, self._counts)
            maps.append(torch.stack([part.amax(dim=0) for part in parts]))
        return maps

    @abstractmethod
    def _of_prompts(self, photo: Photo) -> Tensor:
        """``(prompts, h, w)`` at the model's own resolution."""


class _ClipSeg(_Prompted):
    """CLIPSeg: one map of logits a prompt, from one look at the photo."""

    def __init__(self, run: _Runner, asked: ClassList) -> None:
        super().__init__(run, asked)
        with torch.inference_mode(), run.precision():
            self._words = run.model.get_conditional_embeddings(
                batch_size=len(self._tokens["input_ids"]), **self._tokens
            )

    def _of_prompts(self, photo: Photo) -> Tensor:
        pixels = self._run.prepared([photo])["pixel_values"]
        # The model wants the photo once a prompt; what it sees in it does not depend on the prompt,
        # and is handed to its decoder here for all of them.
        seen = self._run(pixel_values=pixels, conditional_embeddings=self._words[:1])
        layers = seen.vision_model_output.hidden_states
        model = self._run.model
        with torch.inference_mode(), self._run.precision():
            looks = [layers[i + 1].expand(len(self._words), -1, -1) for i in model.extract_layers]
            logits: Tensor = model.decoder(looks, self._words).logits.float()
        return logits.reshape(len(self._words), *logits.shape[-2:]).sigmoid()


class _Sam3(_Prompted):
    """SAM 3: for each prompt instances with scores and masks, and how sure it is of any."""

    tokens = 32

    def _of_prompts(self, photo: Photo) -> Tensor:
        pixels = self._run.prepared([photo])["pixel_values"]
        with torch.inference_mode(), self._run.precision():
            seen = self._run.model.get_vision_features(pixel_values=pixels)
        maps = []
        for i in range(sum(self._counts)):
            tokens = {name: value[i : i + 1] for name, value in self._tokens.items()}
            outputs = self._run(vision_embeds=seen, **tokens)
            sure = outputs.pred_logits[0].float().sigmoid()
            if outputs.presence_logits is not None:
                sure = sure * outputs.presence_logits[0].float().sigmoid()
            masks = outputs.pred_masks[0].float().sigmoid()
            maps.append((sure[:, None, None] * masks).amax(dim=0))
        return torch.stack(maps)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            f"models of Hugging Face need the package transformers, which is not installed "
            f'({error}); install it with: pip install "conformal-plugin[transformers]"'
        ) from error
    return transformers


def _loader(transformers: Any, config: Any) -> tuple[Any, str]:
    """The class that loads a model of this configuration, and which kind it is."""
    kind = config.model_type
    if kind == "clipseg":
        return transformers.CLIPSegForImageSegmentation, kind
    if kind == "sam3" and hasattr(transformers, "Sam3Model"):
        return transformers.Sam3Model, kind
    if kind in _UNIVERSAL:
        return transformers.AutoModelForUniversalSegmentation, "universal"
    dense = transformers.AutoModelForSemanticSegmentation
    if type(config) in dense._model_mapping:
        return dense, "dense"
    raise OptionError(
        f"a model of type {kind!r} is none that transformers {transformers.__version__} and this "
        f"driver know as universal (Mask2Former, MaskFormer, OneFormer), dense (SegFormer, "
        f"UperNet, BEiT, DPT) or text-prompted (CLIPSeg, SAM 3); use a function of yours: "
        f"MODULE:FUNCTION"
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


def _resized(maps: Tensor, photo: Photo) -> Tensor:
    return interpolate(maps[None], size=photo.shape[:2], mode="bilinear", align_corners=False)[0]


def _unpadded(masks: Tensor, valid: Tensor) -> Tensor:
    """Cut off what the processor added on the right and below to fill a batch or a multiple."""
    height, width = int(valid.any(dim=1).sum()), int(valid.any(dim=0).sum())
    if (height, width) == tuple(valid.shape):
        return masks
    full = interpolate(masks[None], size=valid.shape, mode="bilinear", align_corners=False)[0]
    return full[:, :height, :width]
