"""What a section found: rows of figures and checks, and the table of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Finished", "Report", "Row", "table"]

_RESULTS = ("ok", "FAILED", "measured", "not run")


@dataclass(frozen=True)
class Row:
    """One figure or one check.

    Attributes:
        what: was measured or checked.
        result: one of ``ok``, ``FAILED``, ``measured``, ``not run``.
        milliseconds: the median.
        of_copy: the maps' bytes a second, as a share of those that a copy on the device moves.
        of_max: the time as a multiple of that of ``torch.max`` over the classes.
        note: more about it.
    """

    what: str
    result: str
    milliseconds: float | None = None
    of_copy: float | None = None
    of_max: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.result not in _RESULTS:
            raise ValueError(f"result must be one of {_RESULTS}, got {self.result!r}")


class Report:
    """Takes a section's rows and passes them on at once, so that none is lost with its process.

    Args:
        send: takes each row.
    """

    def __init__(self, send: Callable[[Row], Any]) -> None:
        self._send = send

    def check(self, what: str, passed: bool, note: str = "") -> None:
        """Note a check that has passed, or not."""
        self._send(Row(what, "ok" if passed else "FAILED", note=note))

    def measured(self, what: str, milliseconds: float, **more: Any) -> None:
        """Note a time; ``more`` is what a :class:`Row` holds beside it."""
        self._send(Row(what, "measured", milliseconds, **more))

    def counted(self, what: str, note: str) -> None:
        """Note what has been counted."""
        self._send(Row(what, "measured", note=note))

    def not_run(self, what: str, why: str) -> None:
        """Note what could not be tried here."""
        self._send(Row(what, "not run", note=why))


@dataclass
class Finished:
    """A section that has ended, one way or another.

    Attributes:
        name: of the section.
        decides: whether the whole has failed when it has.
        seconds: how long it took.
        rows: all that it found.
    """

    name: str
    decides: bool
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a check did not pass or something broke."""
        return any(row.result == "FAILED" for row in self.rows)

    @property
    def status(self) -> str:
        """``failed``, ``not run`` where nothing was, else ``ok``."""
        if self.failed:
            return "failed"
        return "not run" if all(row.result == "not run" for row in self.rows) else "ok"


def table(finished: Sequence[Finished]) -> str:
    """All rows of all sections, as Markdown."""
    lines = [
        "| section | what | result | median ms | of the copy | x torch.max | |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    for done in finished:
        for row in done.rows:
            milliseconds = "" if row.milliseconds is None else f"{row.milliseconds:.3f}"
            of_copy = "" if row.of_copy is None else f"{100 * row.of_copy:.1f} %"
            of_max = "" if row.of_max is None else f"{row.of_max:.2f}"
            note = row.note.strip().replace("|", "/").replace("\n", " / ")
            lines.append(
                f"| {done.name} | {row.what} | {row.result} | {milliseconds} | {of_copy} | "
                f"{of_max} | {note} |"
            )
    return "\n".join(lines)
