"""Pickles and saved states that release 0.1.0 wrote are still read, and give what they gave.

The fixtures were made by that release from thirty images of six by five pixels; `expected.json`
has what it read from them.
"""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import conformal_plugin
from conformal_plugin import ConformalSupervision, TwoStage
from conformal_plugin.errors import OptionError

FIXTURES = Path(__file__).parent / "fixtures" / "release-0.1.0"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))
STATES = sorted(path.stem for path in FIXTURES.glob("*.npz"))
COUNTERS = sorted(path.name.split(".")[0] for path in FIXTURES.glob("*Calibrator-*.pkl.gz"))


def unpickled(name: str) -> Any:
    # These hold arrays of NumPy 2, which NumPy 1.26 reads and older ones do not.
    pytest.importorskip("numpy._core")
    return pickle.loads(gzip.decompress((FIXTURES / f"{name}.pkl.gz").read_bytes()))


def result(calibrator: Any) -> dict[str, Any]:
    alpha = 0.4 if isinstance(calibrator, conformal_plugin.PrecisionCalibrator) else 0.1
    content: dict[str, Any] = json.loads(calibrator.result(alpha).to_json())
    return numbers(content)


def numbers(calibration: dict[str, Any]) -> dict[str, Any]:
    """A calibration but for the words of its promise, which get better."""
    guarantee = {k: v for k, v in calibration["guarantee"].items() if k != "statement"}
    return calibration | {"guarantee": guarantee}


def by_coverage(evaluation: dict[str, Any]) -> dict[str, Any]:
    """An evaluation with its images in the order of that release."""
    pixels, covered = np.array(evaluation["image_pixels"]), np.array(evaluation["image_covered"])
    kept, wrong = evaluation["image_kept"], evaluation["image_wrong"]
    order = np.lexsort((wrong, kept, pixels, covered / pixels))
    names = ("image_coverage", "image_pixels", "image_covered", "image_kept", "image_wrong")
    return evaluation | {name: np.array(evaluation[name])[order].tolist() for name in names}


def plain(content: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it."""
    decoded: dict[str, Any] = json.loads(json.dumps(content, default=lambda array: array.tolist()))
    return decoded


def test_the_fixtures_are_there() -> None:
    assert len(STATES) == 22
    assert len(COUNTERS) == 7


@pytest.mark.parametrize("name", STATES)
def test_states(name: str) -> None:
    kind = getattr(conformal_plugin, name.split("-")[0])
    with np.load(FIXTURES / f"{name}.npz", allow_pickle=False) as state:
        assert result(kind.from_state(state)) == numbers(EXPECTED[name])


@pytest.mark.parametrize("name", COUNTERS)
def test_pickled_calibrators_go_on_counting(name: str) -> None:
    calibrator = unpickled(name)
    assert result(calibrator) == numbers(EXPECTED[name])
    before = calibrator.n_images
    scores = np.full((4, 2, 2), 0.25, dtype=np.float16)
    calibrator.update(scores, np.zeros((2, 2), dtype=np.uint8), ["a new one"])
    assert calibrator.n_images == before + 1


def test_pickled_results() -> None:
    assert json.loads(unpickled("Calibration").to_json()) == EXPECTED["Calibration"]
    for name, found in (
        ("Evaluation", unpickled("Evaluation")),
        ("Evaluator-float16", unpickled("Evaluator-float16").result()),
    ):
        values = by_coverage(plain(found.to_dict()))
        assert values.pop("foreground_precision") is not None  # which it had not
        assert values == by_coverage(EXPECTED[name])
    with pytest.raises(OptionError, match="run choose again"):
        unpickled("Choice")  # of a criterion that is no more
    assert unpickled("ClassClusters").of_class == (0, 1, 0, 0)


def test_pickled_training_terms() -> None:
    assert unpickled("TwoStage") == TwoStage(3, 4)
    term = unpickled("ConformalSupervision")
    assert isinstance(term, ConformalSupervision)
    logits = torch.zeros(1, 4, 2, 2, requires_grad=True)
    loss = term(logits, torch.zeros(1, 2, 2, dtype=torch.int64), epoch=0)
    assert loss.item() == pytest.approx(np.log(4))
