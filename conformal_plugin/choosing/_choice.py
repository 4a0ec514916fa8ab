"""The result of choosing: the proposal, the whole grid with its uncertainty, and a verdict."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from conformal_plugin.calibration import Calibration

__all__ = ["CLEARLY", "Candidate", "Choice", "Constant"]

CLEARLY = 2.0
"""How many standard errors a difference must exceed to count."""

_PRICE = 0.05  # mIoU that more recall may cost and still be pointed out, see _more_of_the_objects


@dataclass(frozen=True)
class Candidate:
    """One way to make labels, measured on images that did not calibrate it.

    Attributes:
        rule: how a label is picked from a prediction set.
        alpha: miscoverage level; None for the raw annotator (argmax), which drops nothing.
        qhat: threshold from all images at this alpha; ``math.inf`` for the raw annotator.
        miou: mean intersection over union, dropped pixels counted as misses.
        precision: share of the kept labels that are right; NaN where none is kept.
        kept: share of pixels that keep a label.
        recall: share of the objects' pixels (their true class is one of the mIoU's, and not the
            background) with the right label, dropped pixels counted as misses; NaN without any.
        miou_se, precision_se, kept_se, recall_se: standard errors over images; NaN where one
            fold alone holds what is measured.
        behind: how far this mIoU is below the proposal's, on the same images.
        behind_se: standard error of that difference.
        recall_gain: how far this recall is above the proposal's, on the same images.
        recall_gain_se: standard error of that difference.
        usable: whether ``filter`` takes the threshold: one of 1 or more says nothing.
        beats_constant: whether precision and mIoU both are more than two standard errors above
            those of one label for all pixels.
    """

    rule: str
    alpha: float | None
    qhat: float
    miou: float
    miou_se: float
    precision: float
    precision_se: float
    kept: float
    kept_se: float
    recall: float
    recall_se: float
    behind: float
    behind_se: float
    recall_gain: float
    recall_gain_se: float
    usable: bool
    beats_constant: bool

    @property
    def as_good(self) -> bool:
        """Whether the images cannot tell its mIoU from the proposal's."""
        return self.usable and abs(self.behind) <= CLEARLY * self.behind_se


@dataclass(frozen=True)
class Constant:
    """What needs no annotator: every pixel gets the most common class.

    Attributes:
        label: that class.
        precision: its share of the pixels.
        miou: over the same classes as the candidates'.
        recall: of the same objects as the candidates'.
    """

    label: int
    precision: float
    miou: float
    recall: float


@dataclass(frozen=True, eq=False, repr=False)
class Choice:
    """The proposed alpha and rule, and what the proposal rests on.

    Attributes:
        proposed: the proposal.
        candidates: all that were compared, rule by rule and alphas descending, the raw annotator
            last.
        constant: the baseline without an annotator.
        calibration: at the proposed alpha on all images; None where the raw annotator is proposed.
        want_precision, want_kept, want_recall: what was asked for.
        fulfilled: whether the proposal's precision, kept share or recall, less one standard error,
            reaches that.
        classes: what the mIoU is the mean over.
        background: the background class of the foreground-first rule.
        n_images: images with a labelled pixel, each counted once.
        folds: cross-conformal folds.
    """

    proposed: Candidate
    candidates: tuple[Candidate, ...]
    constant: Constant
    calibration: Calibration | None
    want_precision: float | None
    want_kept: float | None
    want_recall: float | None
    fulfilled: bool
    classes: tuple[int, ...]
    background: int
    n_images: int
    folds: int

    @property
    def alpha(self) -> float | None:
        """The proposed alpha; None for the raw annotator."""
        return self.proposed.alpha

    @property
    def rule(self) -> str:
        """The proposed rule."""
        return self.proposed.rule

    @property
    def raw(self) -> Candidate:
        """The raw annotator's candidate."""
        return self.candidates[-1]

    @property
    def worth_using(self) -> bool:
        """Whether some candidate clearly beats one label for all pixels, in precision and mIoU."""
        return any(c.beats_constant for c in self.candidates)

    @property
    def verdict(self) -> str:
        """The proposal in words, a sentence or two a line."""
        lines = [self._proposal()] if self.worth_using else [self._warning(), self._proposal()]
        if not self.fulfilled:
            lines.append(self._unfulfilled())
        lines += [self._without_threshold(), self._against_raw()]
        lines += [self._more_of_the_objects(), self._how_sure()]
        return "\n".join(line for line in lines if line)

    def to_json(self) -> str:
        """Everything as JSON; infinite thresholds are written as strings, NaN as null."""
        calibration = None if self.calibration is None else json.loads(self.calibration.to_json())
        content = {
            "worth_using": self.worth_using,
            "want_precision": self.want_precision,
            "want_kept": self.want_kept,
            "want_recall": self.want_recall,
            "fulfilled": self.fulfilled,
            "proposed": _plain(self.proposed),
            "verdict": self.verdict.splitlines(),
            "constant": _plain(self.constant),
            "classes": list(self.classes),
            "background": self.background,
            "n_images": self.n_images,
            "folds": self.folds,
            "candidates": [_plain(candidate) for candidate in self.candidates],
            "calibration": calibration,
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    def __repr__(self) -> str:
        return f"Choice({self.verdict})"

    @property
    def _by_miou(self) -> bool:
        """Whether nothing was asked for but the highest mIoU."""
        return self.want_precision is None and self.want_kept is None and self.want_recall is None

    def _proposal(self) -> str:
        best = self.proposed
        what = (
            "no filter, the most probable class of every pixel"
            if best.alpha is None
            else f"rule {best.rule} at alpha {best.alpha:g} (q-hat {best.qhat:.6g})"
        )
        start = "Proposed" if self.worth_using else "The best of the grid"
        return (
            f"{start}: {what}. On images that did not calibrate it, "
            f"{_share(best.precision, best.precision_se)} of the kept labels are right, "
            f"{_share(best.kept, best.kept_se)} of the pixels keep one, {self._objects()}and mIoU "
            f"is {100 * best.miou:.1f} ± {100 * best.miou_se:.1f}."
        )

    def _objects(self) -> str:
        """The proposal's recall, in the middle of a sentence; nothing where there is no object."""
        best = self.proposed
        if math.isnan(best.recall):
            return ""
        return f"{_share(best.recall, best.recall_se)} of the objects' pixels get the right label, "

    def _warning(self) -> str:
        baseline = self.constant
        return (
            f"This annotator is not worth using as it is. No alpha and no rule gives labels that "
            f"clearly beat class {baseline.label} for every pixel, which is right on "
            f"{100 * baseline.precision:.1f} % with mIoU {100 * baseline.miou:.1f}: by more than "
            f"{CLEARLY:g} standard errors in precision and in mIoU. Train on the labels alone, or "
            f"look first at the class order, the prompts and how background is formed."
        )

    def _without_threshold(self) -> str:
        """What to say where no alpha gives a threshold that ``filter`` takes."""
        loosest = max(self.candidates[:-1], key=lambda candidate: candidate.alpha or 0.0)
        if loosest.usable or math.isinf(loosest.qhat):
            return ""
        return (
            f"No calibrated rule can be used: the annotator scores the true class 0 on more than "
            f"{100 * (loosest.alpha or 0.0):g} % of the pixels, so at every alpha of the grid the "
            f"threshold is 1 and every class is in every set. Where what it lacks is evidence of "
            f"background, form that from the foreground scores (annotate --background-rule "
            f"complement, or conformal_plugin.annotators._background) and choose again."
        )

    def _unfulfilled(self) -> str:
        if self.want_kept is not None:
            wanted = f"{100 * self.want_kept:g} % kept"
        elif self.want_recall is not None:
            wanted = f"a recall of {100 * self.want_recall:g} % of the objects' pixels"
        else:
            wanted = f"a precision of {100 * (self.want_precision or 0):g} %"
        return f"Nothing in the grid reaches {wanted} with a standard error to spare."

    def _against_raw(self) -> str:
        raw = self.raw
        if self.proposed is raw:
            return ""
        difference = f"{100 * raw.behind:+.1f} ± {100 * raw.behind_se:.1f} points of mIoU"
        clear = abs(raw.behind) > CLEARLY * raw.behind_se
        remark = "" if clear else ", which these images cannot tell from none"
        return (
            f"Against no filter (precision {_share(raw.precision, raw.precision_se)}, mIoU "
            f"{100 * raw.miou:.1f}): {difference}{remark}."
        )

    def _more_of_the_objects(self) -> str:
        """Where students may learn more than from the highest mIoU: a heuristic, not a proposal.

        mIoU of labels counts too much and too little foreground alike, and the students of
        docs/study.md forgave too much more readily. So the highest recall is pointed out among
        candidates that clearly have more than the proposal and cost at most 5 points of mIoU.
        """
        more = [
            c
            for c in self.candidates
            if c.beats_constant
            and c.behind <= _PRICE
            and c.recall_gain > CLEARLY * c.recall_gain_se
        ]
        if not more or not self._by_miou:
            return ""
        most = max(more, key=lambda c: (c.recall, c.miou))
        what = "No filter" if most.alpha is None else f"Rule {most.rule} at alpha {most.alpha:g}"
        return (
            f"{what} labels more of the objects: {_share(most.recall, most.recall_se)} of their "
            f"pixels get the right label, {100 * most.recall_gain:+.1f} ± "
            f"{100 * most.recall_gain_se:.1f} points, for a mIoU of {100 * most.miou:.1f}. "
            f"Students may learn more from it, see docs/study.md."
        )

    def _how_sure(self) -> str:
        alphas = [c.alpha for c in self.candidates if c.rule == self.rule and c.as_good and c.alpha]
        others = self._by_miou and any(alpha != self.alpha for alpha in alphas)
        span = (
            f"By mIoU, alpha {min(alphas):g} to {max(alphas):g} with this rule cannot be told from "
            f"the proposal. "
            if others
            else ""
        )
        return (
            f"{span}These are estimates from {self.n_images} images, not promises, and the mIoU of "
            f"the best of a grid mostly comes out too high; a promise on precision is what "
            f"calibrate_precision gives."
        )


def _share(value: float, error: float) -> str:
    if math.isnan(value):
        return "none"
    spread = "?" if math.isnan(error) else f"{100 * error:.1f}"
    return f"{100 * value:.1f} ± {spread} %"


def _plain(value: Candidate | Constant) -> dict[str, Any]:
    return {name: _number(item) for name, item in asdict(value).items()}


def _number(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
