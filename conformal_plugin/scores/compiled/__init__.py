"""The inner loops as machine code, where the extra ``fast`` (Numba) is installed.

The same results as the NumPy and torch code that is used without it, to the bit, in about half the
time. Importing Numba takes most of a second, and the first use of a loop on a dtype seconds to
compile it, which is then kept on disk. So what a process reads first is left to NumPy, until it has
read so much that more is likely to come. ``NUMBA_DISABLE_JIT=1`` turns the loops off.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import warnings
from types import ModuleType

__all__ = ["loops_for"]

# Some 0.3 s of NumPy's time: a dozen maps of 21 classes and 512 pixels a side.
_LEFT_TO_NUMPY = 2**26
_seen = 0


def loops_for(name: str, scores: int) -> ModuleType | None:
    """A module of this package, or None where NumPy is to do the work.

    Args:
        name: of the module.
        scores: how many there are to go through.
    """
    global _seen
    if _seen < _LEFT_TO_NUMPY:
        _seen += scores  # a count lost between threads does no harm
        return None
    return _loaded(name)


@functools.cache
def _loaded(name: str) -> ModuleType | None:
    if importlib.util.find_spec("numba") is None or os.environ.get("NUMBA_DISABLE_JIT") == "1":
        return None
    try:
        return _imported(f"{__name__}._{name}")
    except Exception as error:  # Numba refuses versions of NumPy, and breaks, in many ways
        warnings.warn(
            f"numba is installed and cannot be used ({type(error).__name__}: {error}); going on "
            f"without it, with the same results in more time. Install versions that fit together "
            f'with pip install -U "conformal-plugin[fast]", or set NUMBA_DISABLE_JIT=1',
            RuntimeWarning,
            stacklevel=3,
        )
        return None


def _imported(module: str) -> ModuleType:
    """A module, asked for again where Python stumbles over its own threads, as 3.11.7 does.

    There two threads that parse Python at once, as Numba's import and the reader of an ``.npy``'s
    header do, can end in a SystemError; the next attempt mostly meets the other thread no more.
    """
    try:
        return importlib.import_module(module)
    except SystemError:
        return importlib.import_module(module)
