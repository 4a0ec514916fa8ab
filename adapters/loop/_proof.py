"""The proof of stage I: in its first step, the labels that were handed out taught the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from conformal_plugin.adapters.loop._label_flow import DROPPED, KEPT, OWN, LabelFlow, Meeting
from conformal_plugin.adapters.loop._losses_going_on import LossGoingOn
from conformal_plugin.errors import OptionError

__all__ = ["FirstSteps"]


class FirstSteps:
    """Watches the first step of stage I, and stops before the second where it taught nothing.

    It reads values back from the device, once a step, until a step has shown that a gradient came
    back: one step, unless no pixel of its batch carries a label.

    Args:
        say: where the log's lines go.
        alone: whether the host's own self-training should rest (mode ``"replace"``).
    """

    def __init__(self, say: Callable[[str], None], *, alone: bool) -> None:
        self._say = say
        self._alone = alone
        self._flow: LabelFlow | None = None
        self._proved = False
        self._kept = 0
        self._file = ""
        self._read: Sequence[LossGoingOn] = ()

    @property
    def pending(self) -> bool:
        """Whether a step is still to be followed."""
        return not self._proved

    def read(self, file: str, losses: Sequence[LossGoingOn]) -> None:
        """Losses that go on, by the text of the script; those that the step shows are its own."""
        self._file, self._read = file, losses

    def begin(self) -> None:
        """A step of stage I begins."""
        if self.pending:
            self._kept = 0
            self._flow = LabelFlow()
            self._flow.start()

    def hand_out(self, labels: Tensor, kept: Tensor) -> None:
        """Labels go out to the script, conformal where ``kept``, both ``(N, H, W)``."""
        if self._flow is not None:
            self._kept += int(kept.sum())
            self._flow.hand_out(labels, kept)

    def settled(self, losses: Sequence[Tensor]) -> None:
        """Conformal losses go out to the script."""
        if self._flow is not None:
            self._kept += 1  # their gradient says where they went, whatever they are worth
            self._flow.expect(losses, "the conformal losses")

    def leave(self) -> None:
        """The loop was left within a step: nothing can be said of it."""
        if self._flow is not None:
            self._flow.stop()
            self._flow = None

    def end(self) -> None:
        """The step is over.

        Raises:
            OptionError: labels went out, and no gradient came back through a loss that reads them;
                or pixels that carry no conformal label are trained on as if they did.
        """
        flow, self._flow = self._flow, None
        if flow is None:
            return
        flow.stop()
        ours = [meeting for meeting in flow.meetings if meeting.conformal]
        if self._kept == 0:  # nothing to be seen in this batch, the next one may show it
            return
        for whose, what in _MUST_NOT_TEACH.items():
            strays = [one for one in ours if one.state is not None and one.taught(whose)]
            if strays:
                raise OptionError(f"{_lines(strays)}: {what}")
        if not any(meeting.taught(KEPT) for meeting in ours):
            raise OptionError(_NOTHING_CAME.format(_read_by(ours)))
        self._proved = True
        reached = [meeting for meeting in ours if meeting.taught(KEPT)]
        self._say(f"Conformal: a gradient came back through {_lines(reached)}")
        if self._alone:
            self._say_what_goes_on([m for m in flow.meetings if not m.conformal and m.taught()])

    def _say_what_goes_on(self, others: Sequence[Meeting]) -> None:
        """Name each loss once: as the step has shown it, or else as the script's text has it."""
        shown = {line for one in others for file, line in one.calls if file == self._file}
        named = [_lines([one]) + ", with labels of the script's own" for one in others]
        named += [str(loss) for loss in self._read if not shown.intersection(loss.lines)]
        if named:
            self._say(
                "Conformal: in mode replace self-training goes on beside the labels: "
                f"{'; '.join(dict.fromkeys(named))}"
            )


_NOTHING_CAME = (
    "the labels of stage I taught nothing in this step: {}. The run was stopped before it would "
    "have gone on without them. Look whether the loss that is trained on, the one of .backward(), "
    "reads them: a script that adds its losses up before the inserted line, or that trains on "
    "labelled photos alone at first, does not"
)
_MUST_NOT_TEACH = {
    DROPPED: (
        "pixels that carry no conformal label are trained on there, with labels of the model's "
        "own. Expected the loss to leave out pixels whose confidence is 0: a threshold of 0, one "
        "that adapts to the batch, or a loss without the confidence does not. Raise the threshold, "
        "or multiply that loss by (confidence > 0)"
    ),
    OWN: (
        "pixels are trained on there with labels of the script's own, pasted in from another "
        "prediction or made of those that it was given (by voting in a region, say). Leave that "
        "step out in stage I, or put ConformalSupervision in the place of the loss, see "
        "docs/any-loop.md"
    ),
}


def _read_by(meetings: Sequence[Meeting]) -> str:
    if not meetings:
        return "no loss that learns has read them"
    return f"they were read at {_lines(meetings)}, and no gradient came back through it"


def _lines(meetings: Sequence[Meeting]) -> str:
    return "; ".join(dict.fromkeys(meeting.where for meeting in meetings))
