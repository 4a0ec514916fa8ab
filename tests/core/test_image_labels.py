"""Labels that are counted in memory are those of the rules as they are written for any device."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from conformal_plugin._choices import RULES
from conformal_plugin.errors import ScoreError
from conformal_plugin.labelling import image_labels, label_maps, least_scores
from conformal_plugin.scores import grid_of

K = 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("background", [0, 2])
def test_they_are_those_of_the_rules(dtype: torch.dtype, rule: str, background: int) -> None:
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.dirichlet(np.ones(K), (40, 30)).transpose(2, 0, 1)).to(dtype)
    scores[:, :5] = torch.round(scores[:, :5] * 4) / 4  # ties, and scores of 0 and 1
    grid = grid_of(scores)
    thresholds = [rng.uniform(0.5, 1, K).tolist(), [0.7] * K, [math.inf] * K]
    thresholds += [[0.6, -math.inf, 0.9, math.inf, 0.75], [-math.inf] * K]
    options = {"rule": rule, "background": background, "ignore_index": K}
    for each in thresholds:
        found = image_labels(scores, each, grid, **options)
        expected = label_maps(scores[None], least_scores(each, grid, K), **options)[0]
        np.testing.assert_array_equal(found, expected)


def test_what_is_no_score_is_refused() -> None:
    scores = torch.full((K, 3, 4), 0.2)
    scores[1, 2, 3] = math.nan
    options = {"rule": "most-probable", "background": 0, "ignore_index": K}
    with pytest.raises(ScoreError):
        image_labels(scores, [0.5] * K, grid_of(scores), **options)
