"""The options under ``conformal:`` in a host's YAML: read, checked, defaults written out."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args

from conformal_plugin._messages import shown
from conformal_plugin.errors import InputTypeError, OptionError

__all__ = ["HOST_KEY", "HostConfig", "Mode"]

HOST_KEY = "conformal"
"""The key of the host's YAML under which the options stand."""

Mode = Literal["replace", "add"]
"""Stage I without the host's self-training (the paper), or with both."""

_EXAMPLE_FOLDER = "pseudo_labels"
_MEANING = "meaning"


@dataclass(frozen=True)
class HostConfig:
    """The options of a run, checked.

    Paths are taken as the host takes its ``data_root``: relative to the folder that the script is
    started in.

    Attributes:
        epochs: the host's own number of epochs, stage I and stage II together.
        pseudo_labels: folder of label PNGs, as ``conformal-plugin filter`` writes them.
        stage1_epochs: epochs of stage I, 0 to ``epochs``.
        mode: ``"replace"``: stage I has no self-training of the host's, as in the paper; ``"add"``:
            it has both.
        weight: factor of the conformal term, at least 0.
        ignore_index: the label of filtered pixels in the PNGs.
        calibration: the file that ``conformal-plugin calibrate`` wrote, or None. The number of
            classes is checked against it.
    """

    epochs: int
    pseudo_labels: Path = field(
        metadata={_MEANING: "Folder of label PNGs that `conformal-plugin filter` wrote. Required."}
    )
    stage1_epochs: int = field(
        default=None,  # type: ignore[assignment]  # what read() puts in needs the epochs
        metadata={_MEANING: "Epochs of stage I. null: three quarters of the host's `epochs`."},
    )
    mode: Mode = field(
        default="replace",
        metadata={
            _MEANING: "In stage I the host's own self-training rests (replace) or goes on (add)."
        },
    )
    weight: float = field(default=1.0, metadata={_MEANING: "Factor of the conformal term."})
    ignore_index: int = field(
        default=255, metadata={_MEANING: "The label of filtered pixels in the PNGs."}
    )
    calibration: Path | None = field(
        default=None,
        metadata={
            _MEANING: "File of `conformal-plugin calibrate`, to check classes with. null: none."
        },
    )

    @classmethod
    def read(cls, cfg: Mapping[str, Any]) -> HostConfig | None:
        """The options in a host's config; None where it has no ``conformal:`` key.

        Args:
            cfg: the host's whole YAML file, as ``yaml.load`` gives it.

        Raises:
            InputTypeError: ``cfg`` is not a mapping.
            OptionError: an unknown key, a value of the wrong type or out of range, a folder or file
                that is not there, or no ``epochs`` to divide into stages.
        """
        if not isinstance(cfg, Mapping):
            raise InputTypeError(
                f"expected the host's config as a dict, but got {type(cfg).__name__}: pass what "
                "yaml.load returned, or vars(args)"
            )
        if HOST_KEY not in cfg:
            return None
        given = cfg[HOST_KEY]
        if not isinstance(given, Mapping):
            raise OptionError(
                f"expected options under {HOST_KEY}: in the YAML, but got {shown(given)}: write "
                f"'pseudo_labels: FOLDER' below it, or take the key out to train as without it"
            )
        _refuse_unknown(given)
        epochs = _epochs(cfg)
        values = {one.name: given.get(one.name, one.default) for one in _options()}
        return cls(
            epochs=epochs,
            pseudo_labels=_folder(values["pseudo_labels"]),
            stage1_epochs=_stage1(values["stage1_epochs"], epochs),
            mode=_mode(values["mode"]),
            weight=_weight(values["weight"]),
            ignore_index=_ignore_index(values["ignore_index"]),
            calibration=_file(values["calibration"]),
        )

    @classmethod
    def default_yaml(cls) -> str:
        """The block to paste into a host's YAML: every option with its meaning and default."""
        lines = [f"{HOST_KEY}:"]
        for one in _options():
            lines += [f"  # {one.metadata[_MEANING]}", f"  {one.name}: {_yaml(one.default)}"]
        return "\n".join(lines) + "\n"


def _options() -> list[Field[Any]]:
    """The fields that are options of the YAML."""
    return [one for one in fields(HostConfig) if _MEANING in one.metadata]


def _yaml(default: Any) -> str:
    if default is MISSING:
        return _EXAMPLE_FOLDER
    return "null" if default is None else str(default)


def _refuse_unknown(given: Mapping[Any, Any]) -> None:
    known = [one.name for one in _options()]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(shown(key).strip("'"), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise OptionError(
                f"unknown option {shown(key)} under {HOST_KEY}:, expected one of "
                f"{', '.join(known)}{hint}"
            )


def _epochs(cfg: Mapping[str, Any]) -> int:
    epochs = cfg.get("epochs")
    if not _is_whole(epochs) or epochs < 1:
        raise OptionError(
            f"expected epochs: in the host's YAML to be a whole number above 0, but got "
            f"{shown(epochs)}: it is divided into stage I and stage II"
        )
    return int(epochs)


def _folder(value: Any) -> Path:
    path = _path("pseudo_labels", value, "the folder that `conformal-plugin filter` wrote")
    if not path.is_dir():
        raise OptionError(
            f"{HOST_KEY}: pseudo_labels: expected a folder, but there is none at {value} (seen "
            f"from {Path.cwd()}): make it with `conformal-plugin filter`, or correct the path"
        )
    return path


def _file(value: Any) -> Path | None:
    if value is None:
        return None
    path = _path("calibration", value, "the file that `conformal-plugin calibrate` wrote, or null")
    if not path.is_file():
        raise OptionError(
            f"{HOST_KEY}: calibration: expected a file, but there is none at {value} (seen from "
            f"{Path.cwd()}): make it with `conformal-plugin calibrate`, correct the path, or write "
            "null"
        )
    return path


def _stage1(value: Any, epochs: int) -> int:
    if value is None:
        return (3 * epochs + 2) // 4  # the paper's 60 of 80, rounded half up
    if not _is_whole(value) or not 0 <= value <= epochs:
        raise OptionError(
            f"{HOST_KEY}: stage1_epochs: expected a whole number from 0 to the host's epochs, "
            f"{epochs}, or null for three quarters of them, but got {shown(value)}"
        )
    return int(value)


def _mode(value: Any) -> Mode:
    for allowed in get_args(Mode):
        if value == allowed:
            return allowed  # type: ignore[no-any-return]
    raise OptionError(f"{HOST_KEY}: mode: expected 'replace' or 'add', but got {shown(value)}")


def _weight(value: Any) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= sys.float_info.max:
        raise OptionError(f"{HOST_KEY}: weight: expected a number from 0, but got {shown(value)}")
    return float(value)


def _ignore_index(value: Any) -> int:
    if not _is_whole(value) or value < 0:
        raise OptionError(
            f"{HOST_KEY}: ignore_index: expected a whole number from 0, but got {shown(value)}; "
            "`conformal-plugin filter` writes 255"
        )
    return int(value)


def _path(key: str, value: Any, what: str) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        got = "nothing" if value is MISSING else shown(value)
        raise OptionError(f"{HOST_KEY}: {key}: expected {what}, but got {got}")
    return Path(value)


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
