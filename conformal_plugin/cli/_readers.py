"""What a command was told of reading files: functions of the user's, and how large images are."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from conformal_plugin.cli._named_objects import named_object
from conformal_plugin.errors import ConformalError, OptionError
from conformal_plugin.files import images_up_to, register_reader

__all__ = ["readers_in_use"]


@contextmanager
def readers_in_use(arguments: argparse.Namespace) -> Iterator[None]:
    """Read files with the readers and the limit that were named as long as the block runs.

    Raises:
        OptionError: no such function, one that does not say how the names of its files end, or a
            limit below 1.
    """
    with ExitStack() as readers:
        most = getattr(arguments, "max_image_pixels", None)
        if most is not None:
            readers.enter_context(images_up_to(most))
        for name in getattr(arguments, "reader", None) or ():
            try:
                readers.enter_context(register_reader(named_object(name, "--reader")))
            except ConformalError as error:
                raise OptionError(f"--reader {name}: {error}") from error
        yield
