"""q-hat by other means: the obvious lines of torch, and the peers that are installed.

All take maps ``(N, K, H, W)`` and labels ``(N, H, W)`` with ignored pixels.

The peers take a row of class scores per pixel and its true class. ``rows`` gives them the maps as
such rows; ``two columns`` is their fastest path: the true class's score is gathered for them, and
they get rows (P, 1 - P) whose true class is the first.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["by_kthvalue", "by_sorting", "peer_functions"]


def true_scores(maps: Tensor, labels: Tensor) -> Tensor:
    used = labels != 255
    index = torch.where(used, labels, 0).long()
    return maps.gather(1, index[:, None])[:, 0][used]


def rank_of(n: int, alpha: float) -> int:
    return math.ceil((n + 1) * (1 - alpha))


def by_sorting(maps: Tensor, labels: Tensor, alpha: float) -> float:
    scores = torch.sort(1 - true_scores(maps, labels)).values
    return float(scores[rank_of(len(scores), alpha) - 1])


def by_kthvalue(maps: Tensor, labels: Tensor, alpha: float) -> float:
    scores = 1 - true_scores(maps, labels)
    return float(scores.kthvalue(rank_of(len(scores), alpha)).values)


def rows(maps: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    used = labels != 255
    return maps.permute(0, 2, 3, 1)[used], labels[used].long()


def two_columns(maps: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    p = true_scores(maps, labels)
    return torch.stack([p, 1 - p], 1), torch.zeros(len(p), dtype=torch.int64)


def torchcp(table: tuple[Tensor, Tensor], alpha: float) -> float:
    from torchcp.classification.predictor import SplitPredictor
    from torchcp.classification.score import LAC

    predictor = SplitPredictor(LAC(score_type="identity"), alpha=alpha)
    predictor.calculate_threshold(*table, alpha)
    return float(predictor.q_hat)


def puncc(table: tuple[Tensor, Tensor], alpha: float) -> float:
    from deel.puncc.api.calibration import BaseCalibrator
    from deel.puncc.api.nonconformity_scores import lac_score
    from deel.puncc.api.prediction_sets import lac_set

    calibrator = BaseCalibrator(nonconf_score_func=lac_score, pred_set_func=lac_set)
    calibrator.fit(y_true=table[1].numpy(), y_pred=table[0].numpy())
    return float(np.ravel(calibrator.compute_quantile(alpha=alpha))[0])


class GivenScores:
    """An estimator, as MAPIE wants one, whose predictions are its input."""

    def __init__(self, num_classes: int = 2) -> None:
        self.num_classes = num_classes
        self.classes_ = np.arange(num_classes)
        self.is_fitted_ = True

    def __sklearn_tags__(self) -> Any:
        from sklearn.base import BaseEstimator, ClassifierMixin

        class Tagged(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
            pass

        return Tagged().__sklearn_tags__()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"num_classes": self.num_classes}

    def fit(self, x: Any, y: Any) -> GivenScores:
        return self

    def predict(self, x: Any) -> Any:
        return np.asarray(x).argmax(1)

    def predict_proba(self, x: Any) -> Any:
        return np.asarray(x)


def mapie(table: tuple[Tensor, Tensor], alpha: float) -> float:
    from mapie.classification import SplitConformalClassifier

    x, y = table[0].numpy(), table[1].numpy()
    classifier = SplitConformalClassifier(
        GivenScores(x.shape[1]), confidence_level=1 - alpha, conformity_score="lac", prefit=True
    )
    classifier.conformalize(x, y)
    classifier.predict_set(x[:1])  # its quantile is taken here
    return float(np.ravel(classifier._mapie_classifier.conformity_score_function_.quantiles_)[0])


def crepes(table: tuple[Tensor, Tensor], alpha: float) -> float:
    """crepes gives sets and p-values but no q-hat: it is timed on one pixel's set."""
    from crepes import ConformalClassifier

    x, y = table[0].numpy(), table[1].numpy()
    # Its own `hinge` finds each pixel's class in a Python loop; this is the same in NumPy.
    classifier = ConformalClassifier().fit(1 - x[np.arange(len(y)), y])
    classifier.predict_set(1 - x[:1], confidence=1 - alpha, smoothing=False)
    return math.nan


# Name, the module that must be there, the function, and what it takes.
_PEERS: dict[str, tuple[str, Callable[..., float], Callable[..., Any]]] = {
    "TorchCP, rows": ("torchcp", torchcp, rows),
    "TorchCP, two columns": ("torchcp", torchcp, two_columns),
    "puncc, rows": ("deel", puncc, rows),
    "puncc, two columns": ("deel", puncc, two_columns),
    "MAPIE, rows": ("mapie", mapie, rows),
    "MAPIE, two columns": ("mapie", mapie, two_columns),
    "crepes, two columns (no q-hat)": ("crepes", crepes, two_columns),
}


def peer_functions(maps: Tensor, labels: Tensor, alpha: float) -> dict[str, Callable[[], float]]:
    """The peers that can be imported here, by name."""
    found: dict[str, Callable[[], float]] = {}
    for name, (module, quantile, form) in _PEERS.items():
        if importlib.util.find_spec(module) is None:
            continue

        def run(quantile: Any = quantile, form: Any = form) -> float:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                qhat: float = quantile(form(maps, labels), alpha)
                return qhat

        found[name] = run
    return found
