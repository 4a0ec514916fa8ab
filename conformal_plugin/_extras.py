"""Importing optional packages when, and only when, a file or a progress bar needs them."""

from __future__ import annotations

import importlib
from typing import Any

from conformal_plugin.errors import MissingExtraError

__all__ = ["optional"]


def optional(module: str, package: str, purpose: str, extra: str = "cli") -> Any:
    """The imported ``module`` of the optional ``package``, which an extra of ours brings.

    Raises:
        MissingExtraError: it is not installed; says what it is for and how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs the package {package}, which is not installed ({error}); install it "
            f'with: pip install "conformal-plugin[{extra}]"'
        ) from error
