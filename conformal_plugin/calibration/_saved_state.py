"""What the saved states of all calibrators have in common: a version, a kind, and how they fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from conformal_plugin._messages import shortened
from conformal_plugin.errors import CalibrationFileError

__all__ = ["reading", "restored", "stored"]


@contextmanager
def reading(state: Mapping[str, Any], kind: str, *versions: int) -> Iterator[None]:
    """Check a state's version and kind; what is missing or unreadable inside is called damage.

    Args:
        state: what a calibrator's ``state`` returned.
        kind: the name of the class that reads it.
        *versions: the versions that it reads.

    Raises:
        CalibrationFileError: it is of another version or kind, or damaged.
    """
    try:
        saved_version = int(state["version"])
        saved_kind = str(state["kind"]) if "kind" in state else kind
        if saved_kind != kind:
            raise CalibrationFileError(
                f"this is the state of a {saved_kind}, and a {kind} was asked for; load it with "
                f"{saved_kind}.from_state"
            )
        if saved_version not in versions:
            raise CalibrationFileError(
                f"this calibrator state is of version {saved_version} and this release reads "
                f"version {' and '.join(map(str, versions))}; start the calibration anew"
            )
        state["kind"]
        yield
    except CalibrationFileError:
        raise
    except Exception as error:  # arrays of any kind, shape and value may be in it
        raise CalibrationFileError(
            f"this calibrator state is damaged ({type(error).__name__}: {shortened(error)}); start "
            f"the calibration anew"
        ) from error


def stored(option: Any) -> np.ndarray[Any, Any]:
    """An option of a calibrator, as a plain array."""
    return np.array("" if option is None else option)


def restored(option: Any) -> Any:
    """The option that :func:`stored` was given."""
    value = np.asarray(option).tolist()
    return None if value == "" else value
