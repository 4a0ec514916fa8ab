"""The boundary around decoders: whatever they raise on bad bytes becomes one typed error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from conformal_plugin._messages import shortened
from conformal_plugin.errors import ConformalError, SourceFileError

__all__ = ["decoding"]


@contextmanager
def decoding(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever goes wrong inside into an error that says which file it was.

    Decoders of hostile bytes raise what they please (``TokenError``, ``LZMAError``,
    ``AttributeError``, ...), so that no list of exceptions would be whole. Inside are a library's
    calls and nothing else: a mistake of our own would be called a damaged file.

    Args:
        what: the file, as in ``"the map probs/0001.npz"``.
        remedy: what to do.

    Raises:
        SourceFileError: for any exception but this package's own, and none of an interrupt.
    """
    try:
        yield
    except ConformalError:
        raise
    except Exception as error:
        if _lacks_memory(error):
            raise SourceFileError(
                f"{what} does not fit into this machine's memory; make it smaller (float16, fewer "
                f"pixels), or use a machine with more"
            ) from error
        reason = f"{type(error).__name__}: {error}"
        raise SourceFileError(f"cannot read {what} ({shortened(reason)}); {remedy}") from error


def _lacks_memory(error: Exception) -> bool:
    """Whether there was not enough of it; torch says so in words alone."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )
