"""Counts of several gloo ranks add up to those of one process, to the bit, or all ranks refuse."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from groups import end_group

from conformal_plugin import (
    Calibrator,
    ClassConditionalCalibrator,
    ClassConditionalImageLevelCalibrator,
    ClusteredCalibrator,
    ConfidenceCalibrator,
    Evaluator,
    ImageLevelCalibrator,
    ImageWiseCalibrator,
    PrecisionCalibrator,
)
from conformal_plugin.errors import ConformalError, OptionError
from conformal_plugin.processes import _ranks as ranks

IMAGES, CLASSES = 12, 3
SPLITS = 6
MAKE: dict[str, Callable[[], Any]] = {
    "pixel": lambda: Calibrator(),
    "image-level": lambda: ImageLevelCalibrator(),
    "image-wise": lambda: ImageWiseCalibrator(tau=0.75),
    "class-conditional": lambda: ClassConditionalCalibrator(min_images=2),
    "per-class-image-level": lambda: ClassConditionalImageLevelCalibrator(few="leave-out"),
    "clustered": lambda: ClusteredCalibrator([0, 0, -1]),
    "confidence": lambda: ConfidenceCalibrator(delta=0.3),
    "precision": lambda: PrecisionCalibrator(),
}


def image(number: int, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """A map and its labels, of a size and with classes that differ from image to image."""
    rng = np.random.default_rng(number)
    height, width = rng.integers(2, 7, 2)
    labels = rng.integers(0, CLASSES - number % 2, (height, width)).astype(np.uint8)
    labels[0, 0] = 255
    scores = rng.random((CLASSES, height, width)) * 0.6
    scores += 0.4 * (np.arange(CLASSES)[:, None, None] == labels)
    return scores.astype(dtype), labels


def counted(calibrator: Any, numbers: Any) -> Any:
    for number in numbers:
        calibrator.update(*image(number), [f"im{number}"])
    return calibrator


def evaluated(numbers: Any, qhat: Any = 0.7) -> Evaluator:
    evaluator = Evaluator(qhat)
    for number in numbers:
        evaluator.update(*image(number))
    return evaluator


def answer(name: str, calibrator: Any) -> str:
    level = 0.4 if name == "precision" else 0.3
    return calibrator.result(level).to_json()


def share(split: int, rank: int, world: int) -> list[int]:
    """The images of a rank, in some order; in some splits a rank has none."""
    owner = np.random.default_rng([split, world]).integers(0, world, IMAGES)
    if split == 0:
        owner[:] = world - 1
    return np.random.default_rng(rank).permutation(np.flatnonzero(owner == rank)).tolist()


def refused(call: Callable[[], Any]) -> str:
    try:
        call()
    except ConformalError as error:
        return f"{type(error).__name__}: {error}"
    return "not refused"


def again(number: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    scores, labels = image(number)
    return [scores], [labels]


def sums(rank: int, world: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, make in MAKE.items():
        for split in range(SPLITS):
            calibrator = counted(make(), share(split, rank, world))
            assert calibrator.all_reduce() is calibrator
            found[f"{name} {split}"] = answer(name, calibrator)
    result = evaluated(share(1, rank, world)).all_reduce().result()
    found["evaluation"] = {key: str(value) for key, value in result.to_dict().items()}
    # The data read again on every rank.
    everything = [image(number) for number in range(IMAGES)]
    ids = [f"im{number}" for number in range(IMAGES)]
    total = counted(Calibrator(), share(2, rank, world)).all_reduce()
    found["exact"] = total.exact_result(*zip(*everything), 0.3, ids=ids).to_json()
    # Each rank reads its own images again; float64 takes several readings.
    for name in ("pixel", "image-wise", "class-conditional"):
        for dtype in (np.float32, np.float64):
            mine = share(3, rank, world)
            pairs = [image(number, dtype) for number in mine]
            names = [f"im{number}" for number in mine]
            counter = MAKE[name]()
            for (scores, labels), label in zip(pairs, names):
                counter.update(scores, labels, [label])
            exact = counter.all_reduce().exact_result_of_ranks(
                [scores for scores, _ in pairs], [labels for _, labels in pairs], 0.3, ids=names
            )
            found[f"again {name} {dtype.__name__}"] = exact.to_json()
    # A later reduction of later counts, by a group of some of the ranks.
    group = dist.new_group([0, world - 1])
    if rank in (0, world - 1):
        part = counted(Calibrator(), [0, 1] if rank == 0 else [2])
        found["some"] = answer("pixel", part.all_reduce(group))
    else:
        found["outside"] = refused(lambda: Calibrator().all_reduce(group))
    return found


def refusals(rank: int, world: int) -> dict[str, str]:
    # As a DistributedSampler pads: the last rank repeats the first rank's first images.
    padded = [0, 1] if rank == 0 else [2 * rank, rank + 10] if rank < world - 1 else [1, 0, 9]
    repeats = counted(Calibrator(), padded)
    before = answer("pixel", repeats)
    found = {"repeats": refused(repeats.all_reduce)}
    assert answer("pixel", repeats) == before  # its own counts are as they were
    found["same image"] = answer("precision", counted(PrecisionCalibrator(), padded).all_reduce())
    nameless = PrecisionCalibrator()
    nameless.update(*image(rank))
    found["nameless"] = refused(nameless.all_reduce)
    found["options"] = refused(Calibrator(ignore_index=255 - rank % 2).all_reduce)
    found["tau"] = refused(ImageWiseCalibrator(tau=0.9 - 0.1 * (rank == 1)).all_reduce)
    found["qhat"] = refused(evaluated([rank], 0.5 + 0.1 * rank).all_reduce)
    kinds = Calibrator() if rank else ImageLevelCalibrator()
    found["kind"] = refused(kinds.all_reduce)
    halves = Calibrator()
    halves.update(*image(rank, np.float16 if rank == 1 else np.float32))
    found["dtype"] = refused(halves.all_reduce)
    fewer = Calibrator()
    fewer.update(np.full((CLASSES + rank, 2, 2), 0.5), np.zeros((2, 2), int))
    found["classes"] = refused(fewer.all_reduce)
    own = counted(Calibrator(), [rank])
    found["not reduced"] = refused(lambda: own.exact_result_of_ranks(*again(rank)))
    own.all_reduce()
    found["alphas"] = refused(lambda: own.exact_result_of_ranks(*again(rank), 0.1 + 0.1 * rank))
    other = rank + 20 * (rank == 1)  # rank 1 comes back with another image
    found["other image"] = refused(lambda: own.exact_result_of_ranks(*again(other)))
    broken = [np.full((CLASSES, 2, 2), np.nan)] if rank == 1 else again(rank)[0]
    labels = [np.zeros((2, 2), int)] if rank == 1 else again(rank)[1]
    found["broken"] = refused(lambda: own.exact_result_of_ranks(broken, labels))
    twice = counted(Calibrator(), [rank]).all_reduce()
    found["twice"] = refused(twice.all_reduce)
    # After all these refusals the ranks still understand each other.
    found["after"] = answer("pixel", counted(Calibrator(), [rank]).all_reduce())
    return found


def work(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=40),
    )
    found = {**sums(rank, world), **refusals(rank, world)}
    Path(folder, f"rank{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    end_group()


@pytest.fixture(scope="module", params=[2, 3])
def found(request: pytest.FixtureRequest, start_ranks: Callable[..., None]) -> list[dict[str, Any]]:
    """What each rank came to."""
    world = request.param
    with tempfile.TemporaryDirectory() as folder:
        start_ranks(work, (world, folder), world)
        paths = [Path(folder, f"rank{rank}.json") for rank in range(world)]
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


@pytest.mark.parametrize("name", MAKE)
def test_any_split_is_one_process(name: str, found: list[dict[str, Any]]) -> None:
    alone = answer(name, counted(MAKE[name](), range(IMAGES)))
    for rank in found:
        for split in range(SPLITS):
            assert rank[f"{name} {split}"] == alone


def test_evaluations_add_up(found: list[dict[str, Any]]) -> None:
    """The images of rank 0 come first, then those of rank 1: an order that no loss has a say in."""
    world = len(found)
    in_turn = [number for rank in range(world) for number in share(1, rank, world)]
    alone = evaluated(in_turn).result().to_dict()
    assert sorted(in_turn) == list(range(IMAGES))
    for rank in found:
        assert rank["evaluation"] == {key: str(value) for key, value in alone.items()}


def test_the_exact_threshold_from_all_data(found: list[dict[str, Any]]) -> None:
    everything = [image(number) for number in range(IMAGES)]
    ids = [f"im{number}" for number in range(IMAGES)]
    alone = counted(Calibrator(), range(IMAGES)).exact_result(*zip(*everything), 0.3, ids=ids)
    assert all(rank["exact"] == alone.to_json() for rank in found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["pixel", "image-wise", "class-conditional"])
def test_the_exact_threshold_from_each_ranks_own_images(
    name: str, dtype: type, found: list[dict[str, Any]]
) -> None:
    everything = [image(number, dtype) for number in range(IMAGES)]
    calibrator = MAKE[name]()
    for scores, labels in everything:
        calibrator.update(scores, labels)
    alone = calibrator.exact_result(*zip(*everything), 0.3)
    assert calibrator.exact_result_of_ranks(*zip(*everything), 0.3) == alone  # one process
    rounded = np.asarray(calibrator.result(0.3).qhat)
    assert (rounded >= np.asarray(alone.qhat)).all()
    assert (rounded > np.asarray(alone.qhat)).any()
    assert all(rank[f"again {name} {dtype.__name__}"] == alone.to_json() for rank in found)


def test_where_one_rank_cannot_read_again_all_end(found: list[dict[str, Any]]) -> None:
    for number, rank in enumerate(found):
        assert "OptionError: the counts of rank 0 are its own alone" in rank["not reduced"]
        assert "OptionError: all ranks must ask for the same alpha" in rank["alphas"]
        assert "OptionError: the second reading found" in rank["other image"]
        expected = "ScoreError: " if number == 1 else "rank 1 failed in reading its images again"
        assert expected in rank["broken"]


def test_a_group_of_some_ranks(found: list[dict[str, Any]]) -> None:
    alone = answer("pixel", counted(Calibrator(), range(3)))
    assert found[0]["some"] == found[-1]["some"] == alone
    if len(found) > 2:
        assert "OptionError: this process is not in the group" in found[1]["outside"]


def test_repeated_images_are_named(found: list[dict[str, Any]]) -> None:
    for rank in found:
        assert "2 images were counted on both sides" in rank["repeats"]
        assert "'im0', 'im1' among them" in rank["repeats"]
        assert f"and rank {len(found) - 1}: " in rank["repeats"]


def test_precision_counts_a_repeated_image_once(found: list[dict[str, Any]]) -> None:
    numbers = {0, 1, 9, *(n for r in range(1, len(found) - 1) for n in (2 * r, r + 10))}
    alone = answer("precision", counted(PrecisionCalibrator(), sorted(numbers)))
    assert all(rank["same image"] == alone for rank in found)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("options", "OptionError: rank 0 and rank 1: cannot merge calibrators with ignore_index"),
        ("tau", "OptionError: rank 0 and rank 1: cannot merge calibrators with tau"),
        ("qhat", "OptionError: rank 0 and rank 1: cannot merge evaluators that differ in qhat"),
        ("nameless", "OptionError: rank 0 and rank 1: cannot merge images without ids"),
        ("kind", "InputTypeError: all ranks must reduce the same kind, got Calibrator and Image"),
        ("dtype", "InputTypeError: rank 0 and rank 1: scores must all have one dtype: float32"),
        ("classes", "ShapeError: rank 0 and rank 1: scores must all have the same number of cl"),
        ("twice", "OptionError: the counts of rank 0 are the total of all ranks already"),
    ],
)
def test_all_ranks_refuse_alike(case: str, message: str, found: list[dict[str, Any]]) -> None:
    assert found[0][case].startswith(message)
    assert len({rank[case] for rank in found}) == 1


def test_a_refusal_leaves_the_ranks_in_step(found: list[dict[str, Any]]) -> None:
    alone = answer("pixel", counted(Calibrator(), range(len(found))))
    assert all(rank["after"] == alone for rank in found)


def test_one_process_without_a_group_keeps_its_counts() -> None:
    alone = counted(Calibrator(), range(3))
    before = answer("pixel", alone)
    assert answer("pixel", alone.all_reduce().all_reduce()) == before


def test_several_processes_without_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OptionError, match=r"of 2 processes .*; call .*init_process_group"):
        Calibrator().all_reduce()


def late(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=40),
    )
    dist.barrier()  # both are here; the short wait begins now
    group = dist.new_group(timeout=timedelta(seconds=6))
    meeting = Path(folder, "done")
    if rank == 1:  # alive, but not coming
        while not meeting.exists():
            time.sleep(0.05)
        return
    ranks._SECONDS_BEFORE_A_WORD = 0.2
    words: list[str] = []
    ranks._logger.warning = lambda text, *values: words.append(text % values)  # type: ignore
    try:
        Calibrator().all_reduce(group=group)
    except RuntimeError as error:
        words.append(f"ended: {error}")
    Path(folder, "words.json").write_text(json.dumps(words), encoding="utf-8")
    meeting.touch()


def test_a_rank_that_does_not_come_is_spoken_of_and_ends_the_wait(
    start_ranks: Callable[..., None],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        start_ranks(late, (folder,), 2)
        words = json.loads(Path(folder, "words.json").read_text(encoding="utf-8"))
    assert words[0] == "all_reduce has waited 0.2 s for the other ranks; it goes on waiting"
    assert words[1].startswith("ended:")
