"""Maps that are read part by part give what they give when they are read whole."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import conformal_plugin as cp
from conformal_plugin.calibration import _score_rows
from conformal_plugin.choosing import _fold_thresholds, signs_of
from conformal_plugin.errors import (
    ConformalError,
    LabelError,
    ScoreError,
    ShapeError,
    SourceFileError,
    UninformativeThresholdError,
)
from conformal_plugin.evaluation import measure_map
from conformal_plugin.files import (
    _large_maps as large_maps,
    checksum,
    open_map,
    read_map,
    register_reader,
    require_classes_first,
)
from conformal_plugin.reporting import gather
from conformal_plugin.scores import labelled_images

Array = Any

CLASSES, HEIGHT, WIDTH = 3, 37, 21
UINT16 = ["uint16"] if hasattr(torch, "uint16") else []  # torch 2.3 has it


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_maps, "PART_BYTES", 5 * CLASSES * WIDTH * 4)


def annotated(dtype: str = "float32", *size: int, seed: int = 0) -> tuple[Array, Array]:
    size = size or (HEIGHT, WIDTH)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, size)
    scores = 0.5 * np.eye(CLASSES)[labels] + 0.5 * rng.dirichlet(np.ones(CLASSES), size)
    labels[rng.random(labels.shape) < 0.1] = 255
    scores = np.moveaxis(scores, -1, 0)
    whole = np.dtype(dtype).kind == "u"
    scaled = np.rint(scores * np.iinfo(dtype).max) if whole else scores
    return np.ascontiguousarray(scaled, dtype=dtype), labels


def write_h5(path: Path, scores: Array, **options: Any) -> Path:
    h5py = pytest.importorskip("h5py", reason="needs the extra formats (h5py)")
    with h5py.File(path, "w") as file:
        file.create_dataset("probs", data=scores, **options)
    return path


def write_tiff(path: Path, scores: Array, **options: Any) -> Path:
    tifffile = pytest.importorskip("tifffile", reason="needs the extra formats (tifffile)")
    pytest.importorskip("imagecodecs", reason="needs the extra formats (imagecodecs)")
    values = np.ascontiguousarray(np.moveaxis(scores, 0, -1))
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig", **options)
    return path


def write_npy(path: Path, scores: Array) -> Path:
    np.save(path, scores)
    return path


WRITERS: dict[str, Callable[[Path, Array], Path]] = {
    "npy": lambda folder, scores: write_npy(folder / "a.npy", scores),
    "h5": lambda folder, scores: write_h5(folder / "a.h5", scores),
    "packed h5": lambda folder, scores: write_h5(
        folder / "a.h5", scores, chunks=(1, 4, 8, *scores.shape[3:]), compression="gzip"
    ),
    "tiles": lambda folder, scores: write_tiff(
        folder / "a.tif", scores, tile=(16, 16), compression="deflate", predictor=False
    ),
    "strips": lambda folder, scores: write_tiff(folder / "a.tif", scores, rowsperstrip=5),
    "one strip": lambda folder, scores: write_tiff(folder / "a.tif", scores, compression="lzw"),
}


@pytest.fixture(params=list(WRITERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_the_parts_are_the_map(tmp_path: Path, kind: str, dtype: str) -> None:
    scores, _ = annotated(dtype)
    path = WRITERS[kind](tmp_path, scores)
    opened = open_map(path)
    assert (opened.shape, opened.dtype, opened.nbytes) == (scores.shape, dtype, scores.nbytes)
    parts = list(opened.parts())
    assert kind == "one strip" or len(parts) > 1
    assert np.array_equal(np.concatenate(parts, axis=1), scores)
    assert np.array_equal(np.asarray(read_map(path)), scores)
    running = 0
    for part in parts:
        running = zlib.crc32(part.tobytes(), running)
    assert checksum(opened) == running


@pytest.mark.parametrize("rule", ["foreground-first", "most-probable", "singleton"])
def test_labels(tmp_path: Path, kind: str, rule: str) -> None:
    scores, _ = annotated()
    found = cp.filter(open_map(WRITERS[kind](tmp_path, scores)), 0.6, rule=rule)
    expected = cp.filter(scores, 0.6, rule=rule)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
@pytest.mark.parametrize(
    "calibrate", [cp.calibrate, cp.calibrate_image_level, cp.calibrate_precision]
)
def test_calibrations(tmp_path: Path, dtype: str, calibrate: Any) -> None:
    scores, labels = annotated(dtype)
    path = write_npy(tmp_path / "a.npy", scores)
    found = calibrate([open_map(path)] * 3, [labels] * 3, 0.4, ids=["a", "b", "c"])
    assert found == calibrate([scores] * 3, [labels] * 3, 0.4, ids=["a", "b", "c"])
    single = calibrate(open_map(path), labels, 0.4)
    assert single == calibrate(scores, labels, 0.4)


@pytest.mark.parametrize(
    "calibrate", [cp.calibrate, cp.calibrate_image_level, cp.calibrate_precision]
)
def test_groups(tmp_path: Path, calibrate: Any) -> None:
    opened, whole, labels = [], [], []
    for number in range(6):
        scores, truth = annotated(seed=number)
        opened.append(open_map(write_npy(tmp_path / f"{number}.npy", scores)))
        whole.append(scores)
        labels.append(truth)
    groups = ["a", "a", "b", "b", "c", "c"]
    found = calibrate(opened, labels, 0.4, groups=groups)
    assert found == calibrate(whole, labels, 0.4, groups=groups)
    assert found.n_groups == 3


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (9, 6, WIDTH)])
def test_what_labels_give_away(tmp_path: Path, size: tuple[int, ...]) -> None:
    scores, labels = annotated("float32", *size)
    opened = open_map(write_npy(tmp_path / "a.npy", scores))
    batch, truth = (scores, labels) if len(size) == 2 else (scores[None], labels[None])
    calibration = cp.calibrate(batch, truth, 0.3)
    found = [
        signs_of(labelled_images(maps, truth), calibration).remarks(np.array([1, 1, 98]), 0)
        for maps in (opened, batch)
    ]
    assert found[0] == found[1] != []


def test_measuring(tmp_path: Path) -> None:
    scores, labels = annotated()
    path = write_npy(tmp_path / "a.npy", scores)
    assert cp.evaluate(open_map(path), labels, 0.6) == cp.evaluate(scores, labels, 0.6)
    labels[:] = 255
    with pytest.raises(ConformalError, match="nothing to evaluate"):
        cp.evaluate(open_map(path), labels, 0.6)


def test_volumes(tmp_path: Path) -> None:
    scores, labels = annotated("float32", 11, 6, WIDTH)
    opened = open_map(write_npy(tmp_path / "a.npy", scores))
    assert len(list(opened.parts())) > 2
    assert np.array_equal(cp.filter(opened, 0.6), cp.filter(scores[None], 0.6)[0])
    found = cp.calibrate_image_level([opened] * 2, [labels, labels[None]], 0.4)
    assert found == cp.calibrate_image_level([scores[None]] * 2, [labels[None]] * 2, 0.4)
    assert found.guarantee.unit == "volume"
    assert cp.evaluate(opened, labels, 0.6) == cp.evaluate(scores[None], labels[None], 0.6)


def test_labels_of_minus_one_in_a_part_alone(tmp_path: Path) -> None:
    scores, labels = annotated()
    labels[labels == 255] = -1
    labels[:10] = 1
    opened = open_map(write_npy(tmp_path / "a.npy", scores))
    options = {"alpha": 0.3, "ignore_index": -1}
    assert cp.calibrate(opened, labels, **options) == cp.calibrate(scores, labels, **options)


def test_a_part_in_which_every_class_is_in_every_set(tmp_path: Path) -> None:
    scores, _ = annotated()
    scores[:, :15] = 0.5
    opened = open_map(write_npy(tmp_path / "a.npy", scores))
    assert np.array_equal(cp.filter(opened, 0.6), cp.filter(scores, 0.6))
    scores[:] = 0.5
    opened = open_map(write_npy(tmp_path / "a.npy", scores))
    with pytest.raises(UninformativeThresholdError, match="every one of the 3 classes"):
        cp.filter(opened, 0.6)


def test_bad_values_in_a_later_part(tmp_path: Path) -> None:
    scores, labels = annotated()
    labels[30, 4] = 7
    opened = open_map(write_npy(tmp_path / "a.npy", scores))
    with pytest.raises(LabelError, match=r"found 7 \(1 pixels\)"):
        cp.calibrate(opened, labels, 0.3)
    scores[1, 30, 4] = np.nan
    opened = open_map(write_npy(tmp_path / "a.npy", scores))
    with pytest.raises(ScoreError, match="1 NaN"):
        cp.filter(opened, 0.6)
    with pytest.raises(ShapeError, match=r"labels must have shape \(37, 21\)"):
        cp.calibrate(opened, labels[:-1], 0.3)


def some_of_each(
    folder: Path, dtype: str, *size: int, number: int = 7
) -> tuple[list[Any], list[Array], list[Array]]:
    """Maps opened and in memory, volumes as batches of one, and their labels."""
    opened, whole, labels = [], [], []
    for seed in range(number):
        scores, truth = annotated(dtype, *size, seed=seed)
        opened.append(open_map(write_npy(folder / f"{seed}.npy", scores)))
        whole.append(scores if scores.ndim == 3 else scores[None])
        labels.append(truth if truth.ndim == 2 else truth[None])
    return opened, whole, labels


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (9, 6, WIDTH)])
def test_choosing(tmp_path: Path, dtype: str, size: tuple[int, ...]) -> None:
    opened, whole, labels = some_of_each(tmp_path, dtype, *size)
    groups = ["a", "a", "b", "b", "c", "d", "e"]
    options: dict[str, Any] = {"groups": groups, "ids": list("abcdefg")}
    found = cp.choose(opened, labels, own=opened, **options)
    assert found.to_json() == cp.choose(whole, labels, own=whole, **options).to_json()
    assert any(one.thresholds == "class-conditional" for one in found.candidates)


def test_thresholds_by_class_of_many_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, whole, labels = some_of_each(tmp_path, "float32")
    expected = cp.choose(whole, labels).to_json()
    monkeypatch.setattr(_fold_thresholds, "_PART_PIXELS", 100)
    monkeypatch.setattr(_score_rows, "_PART_PIXELS", 90)
    for scores in (whole, opened):
        assert cp.choose(scores, labels).to_json() == expected


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (9, 6, WIDTH)])
@pytest.mark.parametrize("cap", [None, 0.3])
def test_what_a_report_gathers(tmp_path: Path, size: tuple[int, ...], cap: float | None) -> None:
    opened, whole, labels = some_of_each(tmp_path, "float32", *size)
    calibration = replace(cp.calibrate(whole, labels, 0.3), cap=cap)
    in_parts, at_once = (
        gather(scores, labels, calibration, rule="most-probable") for scores in (opened, whole)
    )
    assert in_parts.evaluation == at_once.evaluation
    assert np.array_equal(in_parts.lost, at_once.lost)
    assert np.array_equal(in_parts.right, at_once.right)
    for curves in ("pixels", "covered_images"):
        first, second = (getattr(one.halves, curves)([0.1, 0.3]) for one in (in_parts, at_once))
        assert first == second


@pytest.mark.parametrize("dtype", ["float32", *UINT16])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (9, 6, WIDTH)])
def test_measures_of_a_map(tmp_path: Path, dtype: str, size: tuple[int, ...]) -> None:
    opened, whole, _ = some_of_each(tmp_path, dtype, *size, number=1)
    in_parts, at_once = measure_map(opened[0]), measure_map(whole[0])
    assert np.array_equal(in_parts.general, at_once.general)
    assert np.array_equal(in_parts.shares, at_once.shares)


def test_bets_in_the_order_of_the_ids(tmp_path: Path) -> None:
    opened, whole, labels = some_of_each(tmp_path, "float32", number=30)
    ids = [f"photo{(7 * number) % 30}" for number in range(30)]
    found, expected = (
        cp.calibrate_with_confidence(scores, labels, 0.45, delta=0.4, ids=ids)
        for scores in (opened, whole)
    )
    assert found == expected


def test_classes_last_in_a_large_map(tmp_path: Path) -> None:
    scores, _ = annotated("float32", 40, 30)
    path = write_npy(tmp_path / "a.npy", np.ascontiguousarray(np.moveaxis(scores, 0, -1)))
    with pytest.raises(ShapeError, match=r"its axes look like \(H, W, K\)"):
        require_classes_first(open_map(path), "a")
    require_classes_first(open_map(write_npy(tmp_path / "b.npy", scores)), "b")


def test_files_that_cannot_be_read_in_parts(tmp_path: Path) -> None:
    scores, _ = annotated()
    np.savez(tmp_path / "a.npz", probs=scores)
    np.save(tmp_path / "b.npy", np.asfortranarray(scores))
    np.save(tmp_path / "c.npy", scores[0])
    (tmp_path / "d.npy").write_bytes(write_npy(tmp_path / "e.npy", scores).read_bytes()[:-1])
    (tmp_path / "f.npy").write_bytes((tmp_path / "e.npy").read_bytes() + b"more")
    np.save(tmp_path / "g.npy", np.array([{"a": 1}]), allow_pickle=True)
    for name, message in (
        ("a.npz", "cannot be read in parts"),
        ("b.npy", "column by column"),
        ("c.npy", "numbers"),
        ("f.npy", "bytes in memory"),
        ("g.npy", "holds object"),
    ):
        with pytest.raises(SourceFileError, match=message):
            open_map(tmp_path / name)
    with pytest.raises(SourceFileError, match="cut off"):
        list(open_map(tmp_path / "d.npy").parts())
    with (
        register_reader(lambda path, what: scores, (".npy",)),
        pytest.raises(SourceFileError, match="cannot be read in parts"),
    ):
        open_map(tmp_path / "e.npy")


def test_chunks_that_take_too_much(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", annotated()[0], chunks=(3, 37, 21), compression="gzip")
    with pytest.raises(SourceFileError, match="bytes in memory"):
        open_map(path)


def test_the_command_reads_large_files_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from conformal_plugin.cli import main
    from conformal_plugin.files import _map_reader, read_label, write_label

    for folder in ("maps", "labels"):
        (tmp_path / folder).mkdir()
    for seed, name in enumerate("abcdef"):
        scores, labels = annotated(seed=seed)
        unsure = (scores + annotated(seed=99)[0]) / 2
        write_npy(tmp_path / "maps" / f"{name}.npy", unsure)
        write_label(tmp_path / "labels" / f"{name}.png", labels.astype(np.uint8))
    folders = ("--maps", tmp_path / "maps", "--labels", tmp_path / "labels")

    def run(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    every = tmp_path / "every.txt"
    every.write_text("".join(f"{name}\n" for name in "abcdef"))

    few = tmp_path / "few.txt"
    few.write_text("a\nb\nc\nd\n")

    def all_of(name: str) -> list[str]:
        calibration, out = tmp_path / f"{name}.json", tmp_path / name
        run("calibrate", *folders, "--alpha", 0.3, "-o", calibration)
        run("filter", *folders[:2], "--calibration", calibration, "--out", out)
        measured = run("evaluate", *folders, "--calibration", calibration, "--json")
        again = run("filter", *folders[:2], "--calibration", calibration, "--out", out, "--verify")
        assert "6 were there" in again
        run("report", *folders, "--calibration", calibration, "--out", out)
        chosen = run("choose", *folders, "--own-maps", folders[1], "--json")
        decided = tmp_path / f"{name}-decided.json"
        compared = ("--unlabelled", every)
        run("calibrate", *folders, "--ids", few, *compared, "-o", decided)
        plan = tmp_path / f"{name}-plan"
        run("plan", *folders[:2], *compared, "--train-on", 2, "--calibrate-on", 1, "--out", plan)
        return [
            measured,
            chosen,
            (out / "report.html").read_text(),
            *(cp.Calibration.load(path).to_json() for path in (calibration, decided)),
            (plan / "for_training.txt").read_text(),
        ]

    whole = all_of("whole")
    monkeypatch.setattr(_map_reader, "LARGE_MAP_BYTES", 1000)
    opened = []
    monkeypatch.setattr(
        _map_reader, "open_map", lambda *given: opened.append(given) or open_map(*given)
    )
    assert all_of("parts") == whole
    assert opened
    assert np.array_equal(
        read_label(tmp_path / "whole" / "a.png"), read_label(tmp_path / "parts" / "a.png")
    )
