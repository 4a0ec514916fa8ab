"""For each class the annotator whose labels are certified on labelled images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.betting import betting_order, betting_pvalue, check_share
from conformal_plugin.combining._combination import Combination
from conformal_plugin.combining._labelled_maps import LabelledMaps
from conformal_plugin.combining._picking import Confusion, confusions, picked

__all__ = ["Route", "fit_route"]

_LEAST_SHARE = 0.01
"""Of an image's pixels, from which on the labels of a class in it count: a stray pixel is none."""

_Losses = dict[tuple[int, int], tuple[list[str], list[float]]]
"""By annotator and class, the images in which it has labels, and how many of these are wrong."""


@dataclass(frozen=True)
class Route(Combination):
    """A combination that takes each class from one annotator, and says which of them it certified.

    Attributes:
        epsilon: the share of wrong labels that is certified.
        delta: for each class, the probability of certifying an annotator that has more.
        certified: classes whose annotator's labels are certified; the other classes have the
            annotator of the higher IoU.
    """

    epsilon: float = 0.1
    delta: float = 0.1
    certified: tuple[int, ...] = ()

    def fingerprint(self, annotators: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What the combined scores depend on, and what was certified, for a store.

        Args:
            annotators: the fingerprints of those combined.
        """
        own = {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "certified": list(self.certified),
        }
        return {**super().fingerprint(annotators), **own}


def fit_route(
    images: Iterable[LabelledMaps],
    *,
    epsilon: float = 0.1,
    delta: float = 0.1,
    ignore_index: int = 255,
) -> Route:
    """For each class an annotator whose labels of it are certified, where there is one.

    An annotator's labels are its most probable classes. Where it gives a class to at least 1 % of
    an image's labelled pixels, its loss there is the share of these that are wrong. It is certified
    where a bet against "the mean of these losses is above ``epsilon``" wins at the level ``delta``
    over the number of annotators: for images like these, the probability that a class comes with a
    certificate from an annotator with more wrong labels is at most ``delta``, class by class.

    Of several certified annotators the one of the higher IoU is taken, else the surest. A class
    without a certified one has the annotator of the higher IoU, as :func:`fit_pick` gives it.

    Args:
        images: the labelled images to fit on; read once.
        epsilon: the share of wrong labels to certify, in (0, 1).
        delta: how often the certificate of a class may be wrong, in (0, 1).
        ignore_index: the label of pixels without a class.

    Raises:
        OptionError: epsilon or delta outside (0, 1).
        EmptyCalibrationError: there is no labelled pixel.
        ShapeError: maps or a label that do not fit each other.
        ScoreError: a score is not in [0, 1].
        LabelError: a label that is no class.
    """
    epsilon, delta = check_share(epsilon, "epsilon"), check_share(delta, "delta")
    losses: _Losses = {}
    pick = picked(_noting(confusions(images, ignore_index), losses))
    weights = np.array(pick.weights)
    level = delta / len(weights)
    pvalues = np.ones_like(weights)
    for place, (names, wrong) in losses.items():
        in_order = np.array(wrong)[betting_order(names)]
        pvalues[place] = betting_pvalue(in_order, epsilon, aim=level)
    certified = np.flatnonzero((pvalues <= level).any(axis=0))
    for k in certified:
        if pvalues[weights[:, k].argmax(), k] > level:
            weights[:, k] = np.arange(len(weights)) == pvalues[:, k].argmin()
    return Route(
        "route",
        tuple(map(tuple, weights.tolist())),
        pick.offsets,
        pick.fitted_on,
        epsilon,
        delta,
        tuple(certified.tolist()),
    )


def _noting(
    counted: Iterable[tuple[str, Confusion]], losses: _Losses
) -> Iterator[tuple[str, Confusion]]:
    """The counts of images as they come, noting in ``losses`` what is wrong of each class."""
    for name, tables in counted:
        yield name, tables
        least = max(1, _LEAST_SHARE * tables[0].sum())
        given, right = tables.sum(axis=1), np.diagonal(tables, axis1=1, axis2=2)
        for annotator, k in zip(*np.nonzero(given >= least)):
            names, wrong = losses.setdefault((int(annotator), int(k)), ([], []))
            names.append(name)
            wrong.append(float(1 - right[annotator, k] / given[annotator, k]))
