"""Grounding DINO: words in, boxes out, and for each box how sure it is of each word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from conformal_plugin.annotators._protocol import Photo
from conformal_plugin.annotators._transformers_run import ModelRun
from conformal_plugin.errors import OptionError

__all__ = ["Grounding"]

_ENDS = (".", "?")
"""What ends a phrase for the model: it may not lie within a word."""


class _Caption(NamedTuple):
    """Words in one text, as the model reads them.

    Attributes:
        tokens: the model's input.
        spans: per word, the first token and the one after the last.
    """

    tokens: dict[str, Tensor]
    spans: tuple[tuple[int, int], ...]


class Grounding:
    """A Grounding DINO that is asked for words, as many together as its text may hold.

    Args:
        run: the model with its processor.
        words: what it is asked for; in lower case, as its processor does.

    Raises:
        OptionError: a word that the model would read as two, as none, or that is too long.
    """

    def __init__(self, run: ModelRun, words: Sequence[str]) -> None:
        self._run = run
        for word in words:
            if any(end in word for end in _ENDS):
                raise OptionError(
                    f"the word {word!r} holds a full stop or a question mark, at which Grounding "
                    f"DINO ends a phrase; ask for it without, or for two words"
                )
        plain = [word.strip().lower() for word in words]
        self._captions = [self._read(part) for part in self._parts(plain)]

    def __call__(self, photo: Photo) -> tuple[Tensor, Tensor]:
        """All boxes of a photo, sure or not.

        Returns:
            ``(boxes, 4)`` with left, top, right and bottom in pixels, and ``(boxes, words)`` in
            [0, 1], the largest of a word's tokens.
        """
        run = self._run
        inputs = {name: value.to(run.device) for name, value in run.prepared(photo).items()}
        height, width = photo.shape[:2]
        boxes, sure = [], []
        for caption in self._captions:
            outputs = run(**inputs, **caption.tokens)
            shares = outputs.logits[0].float().sigmoid()
            sure.append(torch.stack([shares[:, a:b].amax(dim=1) for a, b in caption.spans], dim=1))
            centre, size = outputs.pred_boxes[0].float().split(2, dim=1)
            corners = torch.cat([centre - size / 2, centre + size / 2], dim=1)
            boxes.append(corners * corners.new_tensor([width, height, width, height]))
        apart: Tensor = torch.block_diag(*sure)  # type: ignore[no-untyped-call]
        return torch.cat(boxes), apart

    def _parts(self, words: Sequence[str]) -> list[list[str]]:
        """The words in order, in as few texts as hold them; the list of words alone decides."""
        tokenizer = self._run.processor.tokenizer
        # The first and the last token belong to the text, and each word ends with a full stop.
        most = self._run.model.config.max_text_len - 2
        parts: list[list[str]] = []
        room = 0
        for word in words:
            taken = len(tokenizer(word, add_special_tokens=False)["input_ids"]) + 1
            if taken > most:
                raise OptionError(
                    f"the word {word!r} is {taken} tokens long, and the model's text holds {most}; "
                    f"ask for it in fewer words"
                )
            if taken > room:
                parts.append([])
                room = most
            parts[-1].append(word)
            room -= taken
        return parts

    def _read(self, words: Sequence[str]) -> _Caption:
        tokenizer = self._run.processor.tokenizer
        text = ". ".join(words) + "."
        tokens = tokenizer(text, return_token_type_ids=True, return_tensors="pt")
        # A word's tokens lie between two of these.
        ends = {*tokenizer.all_special_ids, *tokenizer.convert_tokens_to_ids(list(_ENDS))}
        ends.discard(tokenizer.unk_token_id)  # stands for what the model has no token for
        spans: list[tuple[int, int]] = []
        first = 0
        for place, token in enumerate(tokens["input_ids"][0].tolist()):
            if token in ends:
                if place > first:
                    spans.append((first, place))
                first = place + 1
        if len(spans) != len(words):
            raise OptionError(
                f"Grounding DINO reads {', '.join(map(repr, words))} as {len(spans)} phrases, and "
                f"they are {len(words)}; take out what is no letter"
            )
        names = ("input_ids", "attention_mask", "token_type_ids")
        return _Caption({name: tokens[name].to(self._run.device) for name in names}, tuple(spans))
