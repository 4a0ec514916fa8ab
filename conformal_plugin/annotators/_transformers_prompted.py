"""Models of transformers that are asked for the wanted classes in words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from conformal_plugin.annotators._class_list import ClassList
from conformal_plugin.annotators._protocol import Photo
from conformal_plugin.annotators._transformers_run import ModelRun, resized

__all__ = ["ClipSeg", "Sam3"]


class _Prompted(ABC):
    """Models that are asked in words, one prompt at a time."""

    tokens = 77
    """Length that their text encoders were trained with."""

    def __init__(self, run: ModelRun, asked: ClassList) -> None:
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
        for by_prompt in self._of_prompts(photos):
            parts = torch.split(by_prompt.clamp(0, 1), self._counts)
            maps.append(torch.stack([part.amax(dim=0) for part in parts]))
        return maps

    @abstractmethod
    def _of_prompts(self, photos: Sequence[Photo]) -> Iterator[Tensor]:
        """``(prompts, H, W)`` of each photo, at its size."""


class ClipSeg(_Prompted):
    """CLIPSeg: one map of logits a prompt, from one look at the photo."""

    def __init__(self, run: ModelRun, asked: ClassList) -> None:
        super().__init__(run, asked)
        with torch.inference_mode(), run.precision():
            self._words = run.model.get_conditional_embeddings(
                batch_size=len(self._tokens["input_ids"]), **self._tokens
            )

    def _of_prompts(self, photos: Sequence[Photo]) -> Iterator[Tensor]:
        inputs = [{"pixel_values": self._run.prepared(photo)["pixel_values"]} for photo in photos]
        looks: dict[int, list[Tensor]] = {}
        for places, joined in self._run.together(inputs):
            # The model wants the photo once a prompt; what it sees in it does not depend on the
            # prompt, and is handed to its decoder below for all of them.
            seen = self._run(
                **joined,
                conditional_embeddings=self._words[:1].expand(len(places), -1),
                output_hidden_states=True,  # transformers 4 keeps them for those alone who ask
            )
            layers = seen.vision_model_output.hidden_states
            wanted = [layers[i + 1] for i in self._run.model.extract_layers]
            for row, place in enumerate(places):
                looks[place] = [layer[row : row + 1] for layer in wanted]
        for place, photo in enumerate(photos):
            yield resized(self._decoded(looks.pop(place)), photo)

    def _decoded(self, looks: Sequence[Tensor]) -> Tensor:
        """What the decoder makes of a look at a photo, for each prompt."""
        prompts = len(self._words)
        with torch.inference_mode(), self._run.precision():
            same = [look.expand(prompts, -1, -1) for look in looks]
            logits: Tensor = self._run.model.decoder(same, self._words).logits.float()
        return logits.reshape(prompts, *logits.shape[-2:]).sigmoid()


_LEAST = 2.0**-12
"""An instance that is less sure is none: its scores would be half of what a store's step is."""
_TOGETHER = 16
"""Masks that are brought to the photo's size together, 4 bytes a pixel each."""


class Sam3(_Prompted):
    """SAM 3: for each prompt instances with scores and masks, and how sure it is of any."""

    tokens = 32

    def __init__(self, run: ModelRun, asked: ClassList) -> None:
        super().__init__(run, asked)
        # What its text encoder makes of a prompt is the same for every photo.
        self._words = []
        for i in range(sum(self._counts)):
            ids, mask = (self._tokens[n][i : i + 1] for n in ("input_ids", "attention_mask"))
            with torch.inference_mode(), run.precision():
                words = run.model.get_text_features(input_ids=ids, attention_mask=mask)
            self._words.append({"text_embeds": words, "attention_mask": mask})

    def _of_prompts(self, photos: Sequence[Photo]) -> Iterator[Tensor]:
        return map(self._of, photos)

    def _of(self, photo: Photo) -> Tensor:
        pixels = self._run.prepared(photo)["pixel_values"].to(self._run.device)
        with torch.inference_mode(), self._run.precision():
            seen = self._run.model.get_vision_features(pixel_values=pixels)
        maps = []
        for words in self._words:
            outputs = self._run(vision_embeds=seen, **words)
            sure = outputs.pred_logits[0].float().sigmoid()
            if outputs.presence_logits is not None:
                sure = sure * outputs.presence_logits[0].float().sigmoid()
            found = sure >= _LEAST
            masks, sure = outputs.pred_masks[0][found].float().sigmoid(), sure[found]
            best = sure.new_zeros(photo.shape[:2])
            for some, their in zip(masks.split(_TOGETHER), sure.split(_TOGETHER)):
                instances = their[:, None, None] * resized(some, photo)
                best = torch.maximum(best, instances.amax(dim=0))
            maps.append(best)
        return torch.stack(maps)
