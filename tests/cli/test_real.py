"""Real photos from the command line: a plain NumPy reading of the same files gives the same."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image

from conformal_plugin import Calibration, calibrate
from conformal_plugin.files import LazySequence, label_files, read_map

pytestmark = pytest.mark.real

CORE = (0, 8, 10, 12, 13, 15, 17)


def images(voc, split):
    for name in (voc / "splits" / f"{split}.txt").read_text().split():
        with (
            np.load(voc / "probs" / f"{name}.npz") as archive,
            Image.open(voc / "labels" / f"{name}.png") as label,
        ):
            yield archive["probs"], np.array(label)


def true_scores(voc, split):
    """``1 - P(true class)`` of all labelled pixels, image by image, without the library."""
    for probs, label in images(voc, split):
        rows, columns = np.nonzero(label != 255)
        yield 1.0 - probs[label[rows, columns], rows, columns].astype(np.float64)


@pytest.fixture(scope="module")
def sorted_scores(voc):
    return np.sort(np.concatenate(list(true_scores(voc, "labeled_92"))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def calibrations(voc, folder):
    """Calibrations at alpha .2, .05 and .01 in one reading, by alpha."""
    from conformal_plugin.cli import main

    alphas = ("0.2", "0.05", "0.01")
    code = main(
        ["calibrate", "--maps", str(voc / "probs"), "--labels", str(voc / "labels")]
        + ["--ids", str(voc / "splits" / "labeled_92.txt"), "--alpha", *alphas]
        + ["-o", str(folder / "c.json")]
    )
    assert code == 0
    return {alpha: folder / f"c-{alpha}.json" for alpha in alphas}


def evaluated(voc, run, split, *more):
    done = run(
        *("evaluate", "--maps", voc / "probs", "--labels", voc / "labels"),
        *("--ids", voc / "splits" / f"{split}.txt", "--json", *more),
    )
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_qhat_is_the_order_statistic(calibrations, sorted_scores):
    for alpha, path in calibrations.items():
        n = len(sorted_scores)
        rank = math.ceil((n + 1) * (100 - round(100 * float(alpha))) / 100)
        calibration = Calibration.load(path)
        assert calibration.n_images == 92
        assert calibration.n_pixels == n
        assert calibration.qhat == sorted_scores[rank - 1]


def test_labels_and_what_they_are_worth(voc, run, folder, calibrations):
    qhat = Calibration.load(calibrations["0.2"]).qhat
    content = evaluated(
        voc, run, "unlabeled_345", "--calibration", calibrations["0.2"], "--classes", *CORE
    )
    assert content["n_images"] == 345

    done = run(
        *("filter", "--maps", voc / "probs", "--ids", voc / "splits" / "unlabeled_345.txt"),
        *("--calibration", calibrations["0.2"], "--out", folder / "labels", "--json"),
        *("--photos", voc / "images"),
    )
    assert done.code == 0, done.err
    names = (voc / "splits" / "unlabeled_345.txt").read_text().split()
    assert sorted(path.stem for path in (folder / "labels").glob("*.png")) == sorted(names)
    covered, kept, right, pixels = 0, 0, 0, 0
    for name, (probs, truth) in zip(names, images(voc, "unlabeled_345")):
        with Image.open(folder / "labels" / f"{name}.png") as image:
            assert image.mode == "P"
            labels = np.array(image)
        valid = truth != 255
        rows, columns = np.nonzero(valid)
        scores = 1.0 - probs[truth[valid], rows, columns].astype(np.float64)
        covered += (scores <= qhat).sum()
        pixels += valid.sum()
        kept += (labels[valid] != 255).sum()
        right += (labels[valid] == truth[valid]).sum()
    assert content["coverage"] == pytest.approx(covered / pixels, abs=1e-12)
    assert content["kept"] == pytest.approx(kept / pixels, abs=1e-12)
    assert content["precision"] == pytest.approx(right / kept, abs=1e-12)


def test_labels_follow_the_rule_pixel_by_pixel(voc, run, folder, calibrations):
    qhat = Calibration.load(calibrations["0.2"]).qhat
    names = (voc / "splits" / "labeled_92.txt").read_text().split()[:20]
    (folder / "twenty.txt").write_text("\n".join(names))
    done = run(
        *("filter", "--maps", voc / "probs", "--ids", folder / "twenty.txt"),
        *("--calibration", calibrations["0.2"], "--out", folder / "twenty"),
    )
    assert done.code == 0, done.err
    for name, (probs, _) in zip(names, images(voc, "labeled_92")):
        member = 1.0 - probs.astype(np.float64) <= qhat
        best = np.where(member[1:], probs[1:], np.float16(-1)).argmax(axis=0) + 1
        expected = np.where(member[1:].any(axis=0), best, np.where(member[0], 0, 255))
        with Image.open(folder / "twenty" / f"{name}.png") as image:
            np.testing.assert_array_equal(np.array(image), expected)


def test_raw_is_argmax(voc, run):
    right = [(probs.argmax(0) == label)[label != 255] for probs, label in images(voc, "labeled_92")]
    content = evaluated(voc, run, "labeled_92", "--raw")
    assert content["kept"] == 1
    assert content["precision"] == pytest.approx(np.concatenate(right).mean(), abs=1e-12)


def test_the_reference_table_of_the_normalised_scores(voc, run, tmp_path):
    """Its 92 photos are another draw than the published list: seed 0 of the 437 sorted ids."""
    lists = [voc / "splits" / f"{name}.txt" for name in ("labeled_92", "unlabeled_345")]
    ids = sorted(name for path in lists for name in path.read_text().split())
    order = np.random.default_rng(0).permutation(len(ids))
    for name, part in (("labelled", order[:92]), ("unlabelled", order[92:])):
        (tmp_path / f"{name}.txt").write_text("".join(f"{ids[i]}\n" for i in part))
    done = run(
        *("calibrate", "--maps", voc / "probs", "--labels", voc / "labels"),
        *("--ids", tmp_path / "labelled.txt", "--alpha", "0.2", "0.05", "0.01"),
        *("-o", tmp_path / "c.json", "--json"),
    )
    assert done.code == 0, done.err
    qhats = [entry["qhat"] for entry in json.loads(done.out)["calibrations"]]
    assert [round(qhat, 8) for qhat in qhats] == [0.27978516, 0.9284668, 1.0]
    measured = run(
        *("evaluate", "--maps", voc / "probs", "--labels", voc / "labels", "--json"),
        *("--ids", tmp_path / "unlabelled.txt", "--calibration", tmp_path / "c-0.2.json"),
    )
    content = json.loads(measured.out)
    figures = [round(content[name], 3) for name in ("coverage", "kept", "precision")]
    assert figures == [0.830, 0.863, 0.962]
    refused = run(
        *("filter", "--maps", voc / "probs", "--ids", tmp_path / "unlabelled.txt"),
        *("--calibration", tmp_path / "c-0.01.json", "--out", tmp_path / "labels"),
    )
    assert refused.code == 2
    assert "every class is in every prediction set" in refused.err
    assert "larger alpha or more labelled images" in refused.err
    assert not (tmp_path / "labels").exists()


def test_the_reference_of_the_seem_like_scores(voc):
    names = (voc / "splits" / "labeled_92.txt").read_text().split()
    maps = LazySequence(lambda name: seem_like(read_map(voc / "probs" / f"{name}.npz")), names)
    calibration = calibrate(maps, label_files(voc / "labels", names), 0.05)
    assert calibration.resolution == 0.0
    assert calibration.qhat == pytest.approx(0.7874, abs=5e-5)


def seem_like(probs):
    """Independent scores with an over-confident background, as the data's README defines them."""
    p = probs.astype(np.float32)
    foreground = p[1:] / np.maximum(p[1:] + p[:1], 1e-6)
    return np.concatenate([1 - 0.2 * foreground.max(axis=0, keepdims=True), foreground])
