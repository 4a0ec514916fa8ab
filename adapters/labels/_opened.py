"""What a host's __getitem__ opens: a photo as its file has it, before anything was done to it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from conformal_plugin._extras import optional
from conformal_plugin.adapters.labels._showing import channels_first, shows, size_of

__all__ = ["OpenedPhotos"]

Image = optional("PIL.Image", "Pillow", "carrying pseudo-labels through a host's transforms")


class OpenedPhotos:
    """The photos that one sample opens with ``Image.open``.

    Pictures of one channel are left out, as most of them are masks: of a grey photo, and of one
    that is read in another way, it is not known what its file holds.
    """

    def __init__(self) -> None:
        self._pictures: list[Any] = []

    def watching(self, namespace: dict[str, Any]) -> dict[str, Any]:
        """The names of ``namespace`` that hold Pillow's module, each with one that notes."""
        pillow = [name for name, value in namespace.items() if value is Image]
        return dict.fromkeys(pillow, _Pillow(self._pictures))

    def photos(self) -> list[Any]:
        """Those whose pixels are still there, as RGB."""
        found = (_pixels(one) for one in self._pictures if len(one.getbands()) >= 3)
        return [photo for photo in found if photo is not None]

    def moved(self, given: Any) -> bool:
        """Whether a picture has the size of photos that were opened, and shows none of them."""
        photos = [photo for photo in self.photos() if size_of(photo) == size_of(given)]
        return bool(photos) and not any(_unmoved(given, photo) for photo in photos)


class _Pillow(ModuleType):
    """``PIL.Image`` for the length of one sample: what is opened is noted."""

    def __init__(self, opened: list[Any]) -> None:
        super().__init__(Image.__name__)
        self._opened = opened

    def open(self, *args: Any, **kwargs: Any) -> Any:
        """``PIL.Image.open``."""
        picture = Image.open(*args, **kwargs)
        self._opened.append(picture)
        return picture

    def __getattr__(self, name: str) -> Any:
        return getattr(Image, name)


def _pixels(opened: Any) -> Any:
    """A picture as RGB; None where the host has closed it."""
    try:
        return opened.convert("RGB")
    except (ValueError, OSError):
        return None


def _unmoved(given: Any, photo: Any) -> bool:
    """Whether a picture is the photo: the same pixels, or a view of them."""
    if np.array_equal(np.asarray(given), np.asarray(photo)):
        return True
    return shows(channels_first(given), photo)
