"""``--reader``: functions of the user's that read the files of a command."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from conformal_plugin.cli._named_objects import named_object
from conformal_plugin.errors import ConformalError, OptionError
from conformal_plugin.files import register_reader

__all__ = ["readers_in_use"]


@contextmanager
def readers_in_use(arguments: argparse.Namespace) -> Iterator[None]:
    """Have the readers that were named read files as long as the block runs.

    Raises:
        OptionError: no such function, or one that does not say how the names of its files end.
    """
    with ExitStack() as readers:
        for name in getattr(arguments, "reader", None) or ():
            try:
                readers.enter_context(register_reader(named_object(name, "--reader")))
            except ConformalError as error:
                raise OptionError(f"--reader {name}: {error}") from error
        yield
