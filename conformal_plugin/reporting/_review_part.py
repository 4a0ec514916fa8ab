"""The photos to look at first, as a report shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["ReviewPart", "ReviewedPhoto"]


@dataclass(frozen=True)
class ReviewedPhoto:
    """A photo of a review.

    Attributes:
        name: its id.
        figures: what it was ranked by and why it is here, by the name of the column, as text.
        pictures: what is shown, under its name, as ``data:`` addresses; may be empty.
    """

    name: str
    figures: Mapping[str, str]
    pictures: Mapping[str, str]


@dataclass(frozen=True)
class ReviewPart:
    """The first photos of a review.

    Attributes:
        by: what they are ranked by.
        total: how many photos were ranked.
        photos: the first ones, in order.
    """

    by: str
    total: int
    photos: Sequence[ReviewedPhoto]
