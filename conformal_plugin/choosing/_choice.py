"""The result of choosing: the proposal, the whole grid with its uncertainty, and a verdict."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from conformal_plugin._json import plain
from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import OptionError

__all__ = ["CLEARLY", "Candidate", "Choice", "Constant", "OwnLabels"]

CLEARLY = 2.0
"""How many standard errors a difference must exceed to count."""


@dataclass(frozen=True)
class Candidate:
    """One way to make labels, measured on images that did not calibrate it.

    Attributes:
        rule: how a label is picked from a prediction set.
        alpha: miscoverage level; None for the raw annotator (argmax), which drops nothing.
        qhat: threshold from all images at this alpha, the largest where each class has its own;
            ``math.inf`` for the raw annotator.
        information: what these labels tell of what there is to know, a share: the mutual
            information of label and true class over the pixels that keep a label, times their
            share, divided by the entropy of the true class. One label for all pixels tells nothing.
        miou: mean intersection over union, dropped pixels counted as misses.
        precision: share of the kept labels that are right; NaN where none is kept.
        kept: share of pixels that keep a label.
        recall: share of the objects' pixels with the right label, dropped pixels counted as misses;
            NaN without any. Objects are the classes of the mIoU but the background.
        information_se, miou_se, precision_se, kept_se, recall_se: standard errors over images; NaN
            where one fold alone holds what is measured.
        behind: how far this information is below the proposal's, on the same images.
        behind_se: standard error of that difference.
        recall_gain: how far this recall is above the proposal's, on the same images.
        recall_gain_se: standard error of that difference.
        usable: whether ``filter`` takes the threshold: one of 1 or more says nothing.
        useful: whether the information is more than two standard errors above 0, and more of the
            objects' pixels have a right label than a wrong one: classes that are mixed up tell as
            much.
        thresholds: ``"pixel"`` for one threshold, ``"class-conditional"`` for one per class.
        background: of the rule; None where no class is a background.
    """

    rule: str
    alpha: float | None
    qhat: float
    information: float
    information_se: float
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
    useful: bool
    thresholds: str = "pixel"
    background: int | None = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "information" not in state:
            raise OptionError(
                "this choice was pickled by release 0.1.0, which chose by the labels' mIoU; its "
                "candidates cannot be compared by what they tell, so run choose again"
            )
        self.__dict__.update(state)

    @property
    def as_good(self) -> bool:
        """Whether the images cannot tell its information from the proposal's."""
        return self.usable and abs(self.behind) <= CLEARLY * self.behind_se

    @property
    def name(self) -> str:
        """The way in words, as the verdict says it."""
        if self.alpha is None:
            return "no filter, the most probable class of every pixel"
        own = "class-conditional thresholds, " if self.thresholds == "class-conditional" else ""
        flipped = f" with class {self.background} as background" if self._other_background else ""
        return f"{own}rule {self.rule}{flipped} at alpha {self.alpha:g}"

    @property
    def _other_background(self) -> bool:
        return self.rule == "foreground-first" and bool(self.background)


@dataclass(frozen=True)
class Constant:
    """What needs no annotator: every pixel gets the most common class.

    Attributes:
        label: that class.
        precision: its share of the pixels.
        miou: over the same classes as the candidates'.
        recall: of the same objects as the candidates'.
        information: none.
        kept: everything.
    """

    label: int
    precision: float
    miou: float
    recall: float
    information: float
    kept: float = 1.0


@dataclass(frozen=True)
class OwnLabels:
    """The labels of a model that learnt from labelled images alone, on images that it has not seen.

    Attributes:
        information, miou, precision, recall: as a candidate's, every pixel labelled.
        gain: the proposal's information less this one, on the same images.
        gain_se: standard error of that difference.
    """

    information: float
    miou: float
    precision: float
    recall: float
    gain: float
    gain_se: float


@dataclass(frozen=True, eq=False, repr=False)
class Choice:
    """The proposed thresholds, rule and alpha, and what the proposal rests on.

    Attributes:
        proposed: the proposal.
        candidates: all that were compared, rule by rule and alphas descending, first with one
            threshold and then with one per class, the raw annotator last.
        constant: the baseline without an annotator.
        calibration: of the proposal on all images, with its rule; None where the raw annotator is
            proposed.
        want_precision, want_kept, want_recall: what was asked for.
        fulfilled: whether the proposal's precision, kept share or recall, less one standard error,
            reaches that.
        classes: what the mIoU is the mean over.
        background: the class that is no object; None where every class is one.
        n_images: images with a labelled pixel, each counted once.
        folds: cross-conformal folds.
        own: the labels of the user's own model; None where none were given.
        remarks: what else is seen in the labelled images, a sentence or two each.
        n_groups: groups of these images; None where they did not come in any.
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
    background: int | None
    n_images: int
    folds: int
    own: OwnLabels | None = None
    remarks: tuple[str, ...] = ()
    n_groups: int | None = None

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
        """Whether the labels tell something, and more than the user's own model knows."""
        return any(c.useful for c in self.candidates) and (self.own is None or self.own.gain > 0)

    @property
    def verdict(self) -> str:
        """The proposal in words, a sentence or two a line."""
        lines = [self._proposal()] if self.worth_using else [self._warning(), self._proposal()]
        if not self.fulfilled:
            lines.append(self._unfulfilled())
        lines += [self._without_threshold(), self._against_own(), self._against_raw()]
        lines += [*self.remarks, self._how_sure()]
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
            "proposed": plain(asdict(self.proposed)),
            "verdict": self.verdict.splitlines(),
            "constant": plain(asdict(self.constant)),
            "classes": list(self.classes),
            "background": self.background,
            "n_images": self.n_images,
            "folds": self.folds,
            "own": None if self.own is None else plain(asdict(self.own)),
            "remarks": list(self.remarks),
            **({} if self.n_groups is None else {"n_groups": self.n_groups}),
            "candidates": [plain(asdict(candidate)) for candidate in self.candidates],
            "calibration": calibration,
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    def __repr__(self) -> str:
        return f"Choice({self.verdict})"

    @property
    def _by_information(self) -> bool:
        """Whether nothing was asked for but the most information."""
        return self.want_precision is None and self.want_kept is None and self.want_recall is None

    @property
    def _of_groups(self) -> str:
        return "" if self.n_groups is None else f" of {self.n_groups} groups"

    def _proposal(self) -> str:
        best = self.proposed
        qhat = "" if best.alpha is None else f" (q-hat {best.qhat:.6g})"
        if best.thresholds == "class-conditional":
            qhat = ""
        start = "Proposed" if self.worth_using else "The best of the grid"
        return (
            f"{start}: {best.name}{qhat}. On images that did not calibrate it, "
            f"{_share(best.precision, best.precision_se)} of the kept labels are right, "
            f"{_share(best.kept, best.kept_se)} of the pixels keep one, {self._objects()}they tell "
            f"{_share(best.information, best.information_se)} of what there is to know, and mIoU "
            f"is {100 * best.miou:.1f} ± {100 * best.miou_se:.1f}."
        )

    def _objects(self) -> str:
        """The proposal's recall, in the middle of a sentence; nothing where there is no object."""
        best = self.proposed
        if math.isnan(best.recall):
            return ""
        return f"{_share(best.recall, best.recall_se)} of the objects' pixels get the right label, "

    def _warning(self) -> str:
        if self.own is not None and any(c.useful for c in self.candidates):
            return (
                f"This annotator is not worth using here: its best labels tell "
                f"{100 * self.proposed.information:.1f} % of what there is to know, and those of "
                f"your own model {100 * self.own.information:.1f} %. Train on the labels alone."
            )
        return (
            f"This annotator is not worth using as it is. No way to make labels tells anything by "
            f"more than {CLEARLY:g} standard errors and gives more of the objects' pixels a right "
            f"label than a wrong one. Train on the labels alone, or look first at the class order, "
            f"the prompts and how background is formed."
        )

    def _without_threshold(self) -> str:
        """What to say where no alpha gives a threshold that ``filter`` takes."""
        pooled = [c for c in self.candidates[:-1] if c.thresholds == "pixel"]
        loosest = max(pooled, key=lambda candidate: candidate.alpha or 0.0)
        if any(c.usable for c in self.candidates[:-1]) or math.isinf(loosest.qhat):
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

    def _against_own(self) -> str:
        """Whether it is known that the labels say more than labels alone teach."""
        if self.own is None:
            return (
                "Not compared with a model that learns from your labels alone, which may know as "
                "much already: pass its scores (own, or --own-maps), or try the labels on small "
                "students (conformal-plugin rehearse), see docs/choosing.md."
            )
        clear = self.own.gain > CLEARLY * self.own.gain_se
        remark = "" if clear else ", which these images cannot tell from none"
        return (
            f"Against the labels of your own model, which tell {100 * self.own.information:.1f} %: "
            f"{100 * self.own.gain:+.1f} ± {100 * self.own.gain_se:.1f} points{remark}."
        )

    def _against_raw(self) -> str:
        raw = self.raw
        if self.proposed is raw:
            return ""
        difference = f"{100 * raw.behind:+.1f} ± {100 * raw.behind_se:.1f} points"
        clear = abs(raw.behind) > CLEARLY * raw.behind_se
        remark = "" if clear else ", which these images cannot tell from none"
        return (
            f"Against no filter (precision {_share(raw.precision, raw.precision_se)}), which tells "
            f"{100 * raw.information:.1f} %: {difference}{remark}."
        )

    def _how_sure(self) -> str:
        same = [c for c in self.candidates if self._like_proposed(c) and c.as_good]
        alphas = [c.alpha for c in same if c.alpha]
        others = self._by_information and any(alpha != self.alpha for alpha in alphas)
        span = (
            f"By information, alpha {min(alphas):g} to {max(alphas):g} in the same way cannot be "
            f"told from the proposal. "
            if others
            else ""
        )
        return (
            f"{span}These are estimates from {self.n_images} images{self._of_groups}, not "
            f"promises, and the best of a grid mostly comes out too good; a promise on precision "
            f"is what calibrate_precision gives."
        )

    def _like_proposed(self, candidate: Candidate) -> bool:
        best = self.proposed
        return (candidate.rule, candidate.thresholds, candidate.background) == (
            best.rule,
            best.thresholds,
            best.background,
        )


def _share(value: float, error: float) -> str:
    if math.isnan(value):
        return "none"
    spread = "?" if math.isnan(error) else f"{100 * error:.1f}"
    return f"{100 * value:.1f} ± {spread} %"
