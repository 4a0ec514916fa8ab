"""What ``MODULE:NAME`` on the command line names: an object of the user's own code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from conformal_plugin.errors import OptionError

__all__ = ["named_object"]


def named_object(text: str, option: str) -> Any:
    """The object; None where the module has none of that name.

    Args:
        text: as in ``mymodule:function``.
        option: for which it was given, for the message.

    Raises:
        OptionError: no such module.
    """
    module, _, name = text.partition(":")
    if not module or not name:
        raise OptionError(f"expected MODULE:FUNCTION as in mymodule:function, got {text!r}")
    if str(Path.cwd()) not in sys.path:  # as `python -m` has it
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise OptionError(
            f"{option} {text}: {error}; run in the folder of {module}.py, or install it"
        ) from error
    return getattr(found, name, None)
