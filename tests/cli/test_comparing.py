"""``calibrate --unlabelled``: what it says, writes and leaves for the doctor and the report."""

from __future__ import annotations

import numpy as np
import pytest

from conformal_plugin import Calibration


@pytest.fixture
def data(make_data, tmp_path):
    """Forty images."""
    return make_data(tmp_path / "data", 40)


@pytest.fixture
def lists(data):
    """Sixteen labelled ids, and the others."""
    files = []
    for name, ids in (("labelled", data.ids[:16]), ("unlabelled", data.ids[16:])):
        files.append(data.root / f"{name}.txt")
        files[-1].write_text("\n".join(ids) + "\n")
    return files


def arguments(data, lists, *more):
    return (
        *("calibrate", "--maps", data.maps, "--labels", data.labels, "--alpha", "0.3"),
        *("--ids", lists[0], "--unlabelled", lists[1], "-o", data.root / "c.json", *more),
    )


def test_alike(data, lists, run):
    done = run(*arguments(data, lists))
    assert done.code == 0
    assert "16 labelled and 24 unlabelled images" in done.err
    assert "warning" not in done.err
    comparison = Calibration.load(data.root / "c.json").comparison
    assert comparison is not None
    assert comparison.p_value > 0.01


def test_another_camera(data, lists, run):
    for name in data.ids[16:]:
        path = data.maps / f"{name}.npz"
        scores = np.load(path)["probs"].astype(np.float32) ** 4
        np.savez(path, probs=scores)
    done = run(*arguments(data, lists, "--quiet"))
    assert done.code == 0
    assert "warning: 16 labelled and 24 unlabelled images" in done.err
    assert "not exchangeable" in done.err
    groups = data.root / "groups.tsv"
    groups.write_text("".join(f"{name}\tg{i // 2}\n" for i, name in enumerate(data.ids)))
    run(*arguments(data, lists, "--groups", groups))
    comparison = Calibration.load(data.root / "c.json").comparison
    assert comparison is not None
    assert (comparison.unit, comparison.n_labelled, comparison.n_unlabelled) == ("group", 8, 12)


def test_a_sample_and_ids_on_both_lists(data, lists, run):
    done = run(*arguments(data, [lists[0], data.list], "--unlabelled-sample", "4"))
    assert "16 labelled ids are in --unlabelled too" in done.err
    comparison = Calibration.load(data.root / "c.json").comparison
    assert comparison is not None
    assert comparison.n_unlabelled == 4
    done = run(*arguments(data, lists, "--unlabelled-sample", "1"))
    assert done.code == 2
    assert "--unlabelled-sample must be 2 or more" in done.err


def test_an_unlabelled_map_that_is_missing_is_found_before_any_work(data, lists, run):
    (data.maps / f"{data.ids[-1]}.npz").unlink()
    done = run(*arguments(data, lists))
    assert done.code == 2
    assert "1 of 24 ids have no map" in done.err
    assert not (data.root / "c.json").exists()


def test_precision_takes_the_path_for_how_sure_the_unlabelled_maps_are(data, lists, run):
    def calibrated(*more):
        done = run(
            *("calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", lists[0]),
            *("--guarantee", "precision", "--epsilon", "0.5", "-o", data.root / "c.json", *more),
        )
        assert done.code == 0, done.err
        return done.err, Calibration.load(data.root / "c.json").qhat

    looked_at = ("--unlabelled", lists[1])
    said, qhat = calibrated(*looked_at)
    assert "path of precision is that for the usual annotator, by the 24 unlabelled maps" in said
    assert np.array_equal(qhat, calibrated()[1])
    for name in data.ids:
        path = data.maps / f"{name}.npz"
        scores = np.load(path)["probs"]
        surely = np.eye(len(scores), dtype=np.float32)[scores.argmax(0)].transpose(2, 0, 1)
        np.savez(path, probs=surely)
    said, qhat = calibrated(*looked_at)
    assert "path of precision is that for surer annotators, by the 24 unlabelled maps" in said
    assert not np.array_equal(qhat, calibrated()[1])
    for more in (("--rule", "most-probable"), ("--unlabelled-images", "24")):
        assert "path of precision" not in calibrated(*looked_at, *more)[0]
