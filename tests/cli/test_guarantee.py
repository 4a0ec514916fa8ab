"""``calibrate --guarantee``: the library's calibrations, their options, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import conformal_plugin as cp
from conformal_plugin import Calibration
from conformal_plugin._choices import GUARANTEES
from conformal_plugin.files import label_files, map_files, read_label

COVERAGE = {
    "pixel": (cp.calibrate, {}, []),
    "image-level": (cp.calibrate_image_level, {}, []),
    "image-wise": (cp.calibrate_image_wise, {"tau": 0.5}, ["--tau", 0.5]),
    "confidence": (cp.calibrate_with_confidence, {"delta": 0.3}, ["--delta", 0.3]),
    "class-conditional": (
        cp.calibrate_class_conditional,
        {"few": "leave-out", "min_images": 3},
        ["--few", "leave-out", "--min-images", 3],
    ),
    "class-conditional-image-level": (
        cp.calibrate_class_conditional_image_level,
        {"few": "pool"},
        [],
    ),
}


@pytest.fixture
def calibrated_as(data, run):
    """Calibrate ``data`` with a guarantee; gives what the command did and the calibration."""
    output = data.root / "c.json"

    def call(guarantee, *options):
        done = run(
            "calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list,
            "--guarantee", guarantee, *options, "-o", output,
        )  # fmt: skip
        return done, Calibration.load(output) if done.code == 0 else None

    return call


def pairs(data, ids=None):
    ids = data.ids if ids is None else ids
    return map_files(data.maps, ids), label_files(data.labels, ids)


def test_every_guarantee_can_be_asked_for():
    assert set(GUARANTEES) == {*COVERAGE, "clustered", "precision"}


@pytest.mark.parametrize("guarantee", COVERAGE)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_coverage_is_the_librarys(data, calibrated_as, guarantee, dtype):
    for name, scores in zip(data.ids, list(map_files(data.maps, data.ids))):
        np.savez(data.maps / f"{name}.npz", probs=np.asarray(scores).astype(dtype) ** 1.1)
    function, options, typed = COVERAGE[guarantee]
    done, calibration = calibrated_as(guarantee, "--alpha", 0.2, *typed)
    assert calibration == function(*pairs(data), 0.2, **options)
    kind = "exact" if calibration.guarantee.exact else "heuristic"
    assert f"per {calibration.guarantee.unit}, {kind}. " in done.out
    assert calibration.guarantee.statement in done.out


def test_thresholds_per_class_are_listed_with_their_counts(calibrated_as):
    done, calibration = calibrated_as("class-conditional-image-level", "--alpha", 0.2)
    for c in range(calibration.num_classes):
        images, pixels = calibration.images_per_class[c], calibration.pixels_per_class[c]
        line = f"{c:>7} {calibration.qhat[c]:>10.4f} {images:>8} {pixels:>11}"
        assert line in done.out.splitlines()
    few, calibration = calibrated_as("class-conditional", "--alpha", 0.2, "--min-images", 13)
    assert calibration.pooled_classes == (0, 1, 2, 3)
    assert few.out.count("  pooled") == 4


def test_too_few_images_can_be_a_failure(calibrated_as):
    done, _ = calibrated_as("class-conditional-image-level", "--alpha", 0.01, "--few", "fail")
    assert done.code == 2
    assert "alpha 0.01 needs at least 99 images of every class" in done.err


def test_clusters_are_found_on_images_of_their_own(data, calibrated_as):
    others = data.root / "others.txt"
    others.write_text("\n".join(data.ids[:5]), encoding="utf-8")
    data.list.write_text("\n".join(data.ids[5:]), encoding="utf-8")
    options = ["--cluster-ids", others, "--clusters", 2, "--alpha", 0.2]
    done, calibration = calibrated_as("clustered", *options)
    assert done.code == 0, done.err
    found = cp.cluster_classes(*pairs(data, data.ids[:5]), 2, alpha=0.2)
    expected = cp.calibrate_clustered(*pairs(data, data.ids[5:]), 0.2, clusters=found)
    assert calibration == expected
    assert len(set(found.of_class)) == 2

    data.list.write_text("\n".join(data.ids), encoding="utf-8")
    done, _ = calibrated_as("clustered", *options)
    assert done.code == 2
    assert "5 ids, im0000 among them, are in --cluster-ids and in --ids" in done.err


def test_precision_is_the_librarys_and_filter_holds_to_its_rule(data, run, calibrated_as):
    options = {"delta": 0.4, "weighting": "macro", "test": "hoeffding-bentkus"}
    typed = [part for name, value in options.items() for part in (f"--{name}", value)]
    done, calibration = calibrated_as("precision", "--epsilon", 0.5, "--rule", "singleton", *typed)
    maps, labels = pairs(data)
    expected = cp.calibrate_precision(maps, labels, 0.5, rule="singleton", ids=data.ids, **options)
    assert calibration == expected
    assert calibration.rule == "singleton"
    assert f"epsilon 0.5: q-hat {calibration.qhat:.8g}, rule singleton -> " in done.out

    kept = data.root / "kept"
    command = ["filter", "--maps", data.maps, "--calibration", data.root / "c.json", "--out", kept]
    assert run(*command).code == 0
    name = data.ids[0]
    expected = cp.filter(
        next(iter(map_files(data.maps, [name]))), calibration.qhat, rule="singleton"
    )
    assert np.array_equal(read_label(kept / f"{name}.png"), expected)
    assert json.loads((kept / "labels.json").read_text())["rule"] == "singleton"
    other = run(*command, "--rule", "most-probable", "--overwrite")
    assert other.code == 2
    assert "the calibration is for rule='singleton'" in other.err
    measure = run(
        "evaluate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list,
        "--calibration", data.root / "c.json", "--json",
    )  # fmt: skip
    assert json.loads(measure.out)["rule"] == "singleton"


@pytest.mark.parametrize(
    ("guarantee", "options", "told"),
    [
        ("precision", ["--epsilon", 0.1], "takes at least 29 images without a wrong label among"),
        (
            "precision",
            ["--epsilon", 0.1],
            "(50 where half of it is); the list has 12, so nothing can",
        ),
        ("precision", ["--epsilon", 0.4], "the list has 12, each error asks for more"),
        (
            "precision",
            ["--epsilon", 0.05, "--unlabelled-images", 10],
            "takes at least 2380 images without a wrong label among them",
        ),
        (
            "precision",
            ["--epsilon", 0.05, "--unlabelled-images", 10],
            "(far more where half of it is); the list has 12, so nothing can be kept",
        ),
        ("image-level", ["--alpha", 0.05], "alpha 0.05 needs at least 19 images, and there are 12"),
        ("image-wise", ["--alpha", 0.05], "alpha 0.05 needs at least 19 images, and there are 12"),
        ("image-level", ["--alpha", 0.1], "With 12 images q-hat may miss only 2.5 % of their"),
    ],
)
def test_what_the_images_can_give_is_told_before_a_map_is_read(
    data, calibrated_as, guarantee, options, told
):
    for path in data.maps.iterdir():
        path.write_bytes(b"no map")
    done, _ = calibrated_as(guarantee, *options)
    assert done.code == 2
    notes = [line for line in done.err.splitlines() if line.startswith("note: ")]
    assert any(told in line for line in notes), done.err


def test_enough_images_are_no_news(calibrated_as):
    done, _ = calibrated_as("image-level", "--alpha", 0.3)
    assert "note: " not in done.err


def test_keeping_nothing_is_a_warning(calibrated_as):
    done, calibration = calibrated_as("precision", "--epsilon", 0.01)
    assert calibration.qhat == -np.inf
    assert "warning: at epsilon 0.01 nothing can be kept: Keep nothing: at no threshold" in done.err


def test_several_epsilons_in_one_reading(data, run):
    done = run(
        "calibrate", "--maps", data.maps, "--labels", data.labels, "--guarantee", "precision",
        "--epsilon", 0.05, 0.5, "--json", "-o", data.root / "c.json",
    )  # fmt: skip
    entries = json.loads(done.out)["calibrations"]
    assert [entry["alpha"] for entry in entries] == [0.05, 0.5]
    assert Calibration.load(data.root / "c-0.5.json").alpha == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pixel", "--tau", 0.5], "--tau belongs to --guarantee image-wise, and this is"),
        (["image-level", "--epsilon", 0.1], "--epsilon belongs to --guarantee precision"),
        (["precision", "--alpha", 0.1], "--alpha belongs to --guarantee pixel or image-level or"),
        (["precision"], "--guarantee precision needs --epsilon"),
        (["precision", "--epsilon", 1.5], "epsilon must be a number strictly between 0 and 1"),
        (["precision", "--epsilon", 0.1, "--max-pixels", 9], "max_pixels belongs to weighting"),
        (["pixel", "--alpha", 1], "alpha must be"),
        (["image-wise", "--tau", 2], "tau must be a number in (0, 1]"),
        (["clustered"], "name these with --cluster-ids LIST"),
        (["class-conditional-image-level", "--min-images", 3], "--min-images belongs to"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(
    data, calibrated_as, arguments, message
):
    done, _ = calibrated_as(*arguments)
    assert done.code == 2
    assert message in done.err
    assert not list(data.root.glob("c.json*"))


@pytest.mark.real
def test_the_command_certifies_the_published_precision(voc, run, tmp_path):
    """What the library certifies with the default path on the published 92."""
    done = run(
        "calibrate", "--maps", voc / "probs", "--labels", voc / "labels",
        "--ids", voc / "splits" / "labeled_92.txt", "--guarantee", "precision",
        "--epsilon", 0.05, 0.1, "-o", tmp_path / "c.json",
    )  # fmt: skip
    assert done.code == 0, done.err
    for epsilon, expected in ((0.05, (0.014142, 0.325)), (0.1, (0.394822, 0.56125))):
        calibration = Calibration.load(tmp_path / f"c-{epsilon}.json")
        assert calibration.qhat[:2] == pytest.approx(expected, abs=1e-5)
        assert calibration.guarantee.exact
