"""The SEEM-like form of scores, by its formula and through its command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import seem_like as command
from score_forms import seem_like, with_background


def test_the_formula_by_hand() -> None:
    probs = np.array([0.6, 0.3, 0.1], np.float16).reshape(3, 1, 1)
    scores = seem_like(probs)
    p = probs.astype(np.float64).ravel()
    objects = p[1:] / (p[1:] + p[0])
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[1:].ravel(), objects, rtol=1e-6)
    np.testing.assert_allclose(scores[0].item(), 1 - 0.2 * objects.max(), rtol=1e-6)


def test_scores_stay_in_range_where_all_probabilities_are_zero() -> None:
    scores = seem_like(np.zeros((4, 2, 2), np.float16))
    assert scores[0].min() == 1
    assert scores[1:].max() == 0


def test_batches_and_single_images_agree() -> None:
    objects = np.random.default_rng(0).random((3, 4, 5, 6), np.float32)
    single = np.stack([with_background(image) for image in objects])
    np.testing.assert_array_equal(with_background(objects), single)


def test_the_command_writes_each_map_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(3), (4, 5)).transpose(2, 0, 1)
    (tmp_path / "probs").mkdir()
    for name in ("a", "b"):
        np.savez(tmp_path / "probs" / f"{name}.npz", probs=probs.astype(np.float16))
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "new")]
    assert command.main(arguments) == 0
    assert "2 maps written" in capsys.readouterr().out
    with np.load(tmp_path / "new" / "a.npz") as archive:
        np.testing.assert_array_equal(archive["probs"], seem_like(probs.astype(np.float16)))
    assert command.main(arguments) == 0
    assert "0 maps written" in capsys.readouterr().out


def test_the_command_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(["--data", str(tmp_path), "--out", str(tmp_path / "new")])
    assert stop.value.code == 2
    assert "no maps probs/ID.npz" in capsys.readouterr().err
    (tmp_path / "probs").mkdir()
    np.savez(tmp_path / "probs" / "a.npz", scores=np.zeros((2, 2, 2)))
    assert command.main(["--data", str(tmp_path), "--out", str(tmp_path / "new")]) == 1
    assert "expected the key 'probs'" in capsys.readouterr().err
