"""How improbable a low coverage is when the exchangeable unit is the image.

Losses are shares of missed pixels: L_i(q) in [0, 1] for image i, falling as the threshold q rises.
Every calibration here picks ``qhat = inf{q : C(q) <= c}`` where C is the mean loss of the n
calibration images and c a number fixed in advance, e.g. ``(alpha (n + 1) - 1) / n`` for image-level
conformal risk control (arXiv 2208.02814). Null hypothesis of both tests: the n calibration images
and the m test images are exchangeable.

With the calibration images' losses (:func:`split_p_value`): given the bag of all n + m images, the
calibration images are a random n of them, and qhat is a function of which. Since C falls in q, a
split S has ``qhat(S) <= q`` exactly when its mean loss at q is at most c. So the share of splits
with mean loss at most c at the observed qhat is the distribution function of qhat, at qhat: a
permutation p-value, valid at every level, although losses are known at that one threshold alone.
It is estimated from random splits such that the estimate is valid too (the observed split counts as
one of them), which takes splits that are independent of the losses.

Without them (:func:`threshold_p_value`): let T be the mean loss of the test images, t its observed
value, and r = (n c + m t) / (n + m). If T(qhat) >= t then, at the threshold q* where the mean loss
of the whole bag falls through r, either T(q*) >= t (when qhat >= q*, T falls in q) or C just below
q* is at most c (when qhat < q*). Interpolating between the losses on the two sides of q* gives one
bag of mean r in which both say that the m test images have mean loss at least t. The probability of
that for m drawn from n + m without replacement is at most

    min over a < m t of  E[(H - a)+] / (m t - a),   H ~ Hypergeometric(n + m, ceil((n + m) r), m)

by Markov's inequality, because E[(sum - a)+] is a symmetric convex function of the bag's losses,
largest when they are all 0 or 1 (and one between, rounded up).
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

__all__ = [
    "highest_loss",
    "log_chance_of_equal_halves",
    "seed_of_bag",
    "split_p_value",
    "threshold_p_value",
]

_FIRST_BATCH, _LARGEST_BATCH = 32, 512
_ROUNDING = 1e-9


def threshold_p_value(n: int, target: float, m: int, loss: float) -> float:
    """Bound on P(mean test loss >= ``loss``) for a threshold whose calibration loss is <= target.

    Args:
        n: number of calibration images.
        target: c, what the calibration images' mean loss is at most; below 0 where the threshold
            must be infinite.
        m: number of test images.
        loss: t, mean loss of the test images.
    """
    if loss <= 0:
        return 1.0
    if target < 0:
        return 0.0
    # A sum that is whole but for a rounding error is not one success more.
    successes = math.ceil(n * target + m * loss - _ROUNDING)
    if successes >= n + m:
        return 1.0
    tested = m * loss
    mass = scipy.stats.hypergeom(n + m, successes, m).pmf(np.arange(m + 2))
    above = np.cumsum(mass[::-1])[::-1][1:]  # P(H > a), from the tail so that it stays precise
    excess = np.cumsum(above[::-1])[::-1]  # E[(H - a)+] = sum over j >= a of P(H > j)
    below = np.arange(m + 1)[np.arange(m + 1) < tested - _ROUNDING]
    if not len(below):
        return 1.0
    return float(min(1.0, np.min(excess[below] / (tested - below))))


def highest_loss(n: int, target: float, m: int, level: float) -> float:
    """The largest mean test loss whose :func:`threshold_p_value` is above ``level``."""
    if target < 0:
        return 0.0
    low, high = max(target, 0.0), 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if threshold_p_value(n, target, m, middle) > level:
            low = middle
        else:
            high = middle
    return low


def split_p_value(
    calibration: np.ndarray[Any, Any],
    test: np.ndarray[Any, Any],
    target: float,
    level: float,
    seed: int,
) -> float:
    """Share of random splits of the bag whose calibration would have chosen so low a threshold.

    Args:
        calibration: float64 ``(n,)``, losses of the calibration images at the threshold.
        test: float64 ``(m,)``, losses of the test images there.
        target: c, what the threshold brings the mean calibration loss down to.
        level: the level that the value will be compared with. Drawing stops when it can only lie
            above, so values above ``level`` are rough.
        seed: of the random splits. They must know nothing of the losses. One seed for all bags
            draws the same places of the bag each time, and where a place says something about its
            loss (they came sorted) every bag's value errs to the same side: :func:`seed_of_bag`.

    Returns:
        ``(1 + hits) / (1 + splits)``, a valid p-value for any number of splits.
    """
    bag = np.concatenate([calibration, test])
    n, smaller = len(calibration), min(len(calibration), len(test))
    # A hundred of them at the level itself, or what ten thousand give.
    splits = max(999, min(9999, math.ceil(100 / level) - 1), math.ceil(10 / level) - 1)
    bound = n * target + _ROUNDING
    if smaller < n:
        bound = bag.sum() - bound  # the test images' loss is drawn instead, and is at least this
    rng = np.random.default_rng(seed)
    hits = done = 0
    size = _FIRST_BATCH
    while done < splits:
        batch = min(size, splits - done)
        size = min(2 * size, _LARGEST_BATCH)
        order = np.argpartition(rng.random((batch, len(bag))), smaller - 1, axis=1)[:, :smaller]
        sums = bag[order].sum(axis=1)
        hits += int(np.sum(sums <= bound) if smaller == n else np.sum(sums >= bound))
        done += batch
        if hits + 1 > level * (splits + 1):
            break
    return (1 + hits) / (1 + done)


def seed_of_bag(calibration: np.ndarray[Any, Any], test: np.ndarray[Any, Any]) -> int:
    """A seed for :func:`split_p_value`: the same for the same losses, another for any others.

    A hash of the losses as they came, so that a run can be repeated to the bit, and splits are
    drawn independently for each bag whatever its order.
    """
    digest = hashlib.sha256(calibration.tobytes() + b"|" + test.tobytes()).digest()
    return int.from_bytes(digest[:16], "big")


def log_chance_of_equal_halves(counts: Any) -> float:
    """Log of the probability that a random split into halves divides every kind of item evenly.

    ``prod C(2 k, k) / C(2 n, n)`` with k items of a kind in each half, n in all. This is how
    probable it is for two exchangeable sets of n to agree in all counts.

    Args:
        counts: number of items of each kind in one half.
    """
    kinds = np.asarray(counts, dtype=np.float64)

    def log_central(k: Any) -> Any:
        return scipy.special.gammaln(2 * k + 1) - 2 * scipy.special.gammaln(k + 1)

    return float(min(0.0, np.sum(log_central(kinds)) - log_central(kinds.sum())))
