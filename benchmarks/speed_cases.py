"""What is measured: for each case its data, and the functions that do the job or bound it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from speed_peers import by_kthvalue, by_sorting, peer_functions
from torch import Tensor, nn

from conformal_plugin import Calibrator, ConformalSupervision, calibrate, evaluate, filter

__all__ = ["CASES", "Functions", "Size", "stream"]

ALPHA, QHAT, IGNORE = 0.05, 0.3, 255
Functions = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True)
class Size:
    """Of a batch of maps; the data folder for the case of real maps."""

    images: int
    height: int
    width: int
    classes: int
    data: Path | None = None


def made(size: Size, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Smooth probability maps, and labels of which some are wrong and some ignored."""
    draw = torch.Generator().manual_seed(0)
    shape = (size.images, size.classes, size.height, size.width)
    maps = torch.empty(shape, dtype=dtype)
    labels = torch.empty((size.images, *shape[2:]), dtype=torch.uint8)
    for i in range(size.images):
        coarse = (1, size.classes, size.height // 16 + 2, size.width // 16 + 2)
        logits = 4 * torch.randn(coarse, generator=draw)
        smooth = F.interpolate(logits, size=shape[2:], mode="bilinear")[0].softmax(0)
        chance = torch.rand(shape[2:], generator=draw)
        random = torch.randint(size.classes, shape[2:], generator=draw)
        truth = torch.where(chance < 0.1, random, smooth.argmax(0))
        labels[i] = truth.masked_fill_(chance > 0.95, IGNORE).to(torch.uint8)
        maps[i] = smooth.to(dtype)
    return maps, labels


def plain_filter(maps: Tensor, qhat: float) -> Tensor:
    """The paper's rule in the obvious lines of torch."""
    inside = 1 - maps <= qhat
    label = torch.where(inside[:, 1:], maps[:, 1:], -1).argmax(dim=1) + 1
    none = ~inside[:, 1:].any(dim=1)
    label[none] = IGNORE
    label[none & inside[:, 0]] = 0
    return label.to(torch.uint8)


def thoughtful_filter(maps: Tensor, qhat: float) -> Tensor:
    """The same by someone who knows that torch.max is faster than argmax, and looks once."""
    best, label = maps[:, 1:].max(dim=1)
    label += 1
    none = ~(1 - best <= qhat)
    label[none] = IGNORE
    label[none & (1 - maps[:, 0] <= qhat)] = 0
    return label.to(torch.uint8)


def plain_evaluate(maps: Tensor, truth: Tensor, qhat: float) -> tuple[Tensor, Tensor, Tensor]:
    """Confusion, set sizes and covered pixels in the obvious lines of torch."""
    classes = maps.shape[1]
    used = truth != IGNORE
    labels = plain_filter(maps, qhat)[used].long()
    labels[labels == IGNORE] = classes
    true = truth[used].long()
    cells = classes * (classes + 1)
    confusion = torch.bincount(true * (classes + 1) + labels, minlength=cells)
    inside = 1 - maps <= qhat
    sizes = torch.bincount(inside.sum(dim=1)[used], minlength=classes + 1)
    index = torch.where(used, truth, 0).long()
    covered = inside.gather(1, index[:, None])[:, 0][used].sum()
    return confusion, sizes, covered


def check(same: bool, what: str) -> None:
    if not same:
        raise SystemExit(f"the functions that are compared do not agree on {what}")


def filter_case(
    dtype: torch.dtype, *, channels_last: bool = False
) -> Callable[[Size], tuple[Functions, int]]:
    def functions(size: Size) -> tuple[Functions, int]:
        maps, _ = made(size, dtype)
        if channels_last:
            maps = maps.contiguous(memory_format=torch.channels_last)
        return _filter_functions([maps]), maps.nbytes

    return functions


def _filter_functions(batches: list[Tensor]) -> Functions:
    # Scores that differ from 1 - qhat by a rounding may fall on either side of it.
    agree = [
        float((filter(b[:1], QHAT) == plain_filter(b[:1], QHAT)).float().mean()) for b in batches
    ]
    check(min(agree) > 0.999, "labels")

    def each(function: Callable[[Tensor], Any]) -> Callable[[], Any]:
        return lambda: [function(batch) for batch in batches]

    return {
        "read pass, maps.sum()": each(lambda maps: maps.sum()),
        "amax(dim=1)": each(lambda maps: maps.amax(dim=1)),
        "filter": each(lambda maps: filter(maps, QHAT)),
        "torch.max(dim=1)": each(lambda maps: maps.max(dim=1)),
        "argmax(dim=1)": each(lambda maps: maps.argmax(dim=1)),
        "plain rule, argmax": each(lambda maps: plain_filter(maps, QHAT)),
        "plain rule, torch.max": each(lambda maps: thoughtful_filter(maps, QHAT)),
    }


def calibrate_case(dtype: torch.dtype, *, peers: bool) -> Callable[[Size], tuple[Functions, int]]:
    def functions(size: Size) -> tuple[Functions, int]:
        maps, labels = made(size, dtype)
        found = _calibrate_functions(maps, labels)
        return found | (peer_functions(maps, labels, ALPHA) if peers else {}), maps.nbytes

    return functions


def _calibrate_functions(maps: Tensor, labels: Tensor) -> dict[str, Callable[[], Any]]:
    # What the floor needs beside the maps is made beforehand.
    index = torch.where(labels == IGNORE, 0, labels).long()[:, None]

    def one_pass() -> Any:
        calibrator = Calibrator()
        calibrator.update(maps, labels)
        return calibrator.result(ALPHA)

    exact = calibrate(maps, labels, ALPHA).qhat
    check(abs(exact - by_sorting(maps, labels, ALPHA)) < 1e-3, "q-hat")
    return {
        "gather": lambda: maps.gather(1, index),
        "calibrate": lambda: calibrate(maps, labels, ALPHA),
        "Calibrator, one pass": one_pass,
        "torch: gather, sort": lambda: by_sorting(maps, labels, ALPHA),
        "torch: gather, kthvalue": lambda: by_kthvalue(maps, labels, ALPHA),
    }


def evaluate_case(size: Size) -> tuple[Functions, int]:
    maps, labels = made(size, torch.float32)
    confusion = plain_evaluate(maps, labels, QHAT)[0]
    ours = torch.from_numpy(evaluate(maps, labels, QHAT).confusion).flatten()
    check(bool((confusion - ours).abs().sum() < 1e-3 * ours.sum()), "the confusion matrix")
    functions = {
        "read pass, maps.sum()": lambda: maps.sum(),
        "evaluate": lambda: evaluate(maps, labels, QHAT),
        "torch.max(dim=1)": lambda: maps.max(dim=1),
        "plain evaluation": lambda: plain_evaluate(maps, labels, QHAT),
    }
    return functions, maps.nbytes


def real_maps(size: Size) -> tuple[list[Tensor], list[Tensor]]:
    from conformal_plugin.files import read_ids, read_label, read_map

    assert size.data is not None
    ids = read_ids(size.data / "splits" / "labeled_92.txt").ids[: size.images]
    maps = [torch.as_tensor(read_map(size.data / "probs" / f"{name}.npz")) for name in ids]
    labels = [
        torch.from_numpy(np.array(read_label(size.data / "labels" / f"{name}.png"))) for name in ids
    ]
    return maps, labels


def real_filter(size: Size) -> tuple[Functions, int]:
    maps, _ = real_maps(size)
    return _filter_functions([one[None] for one in maps]), sum(one.nbytes for one in maps)


def real_calibrate(size: Size) -> tuple[Functions, int]:
    maps, labels = real_maps(size)
    indices = [torch.where(one == IGNORE, 0, one).long()[None] for one in labels]

    def by_hand() -> float:
        pairs = zip(maps, labels)
        scores = [m.gather(0, torch.where(y == IGNORE, 0, y).long()[None])[0][y != IGNORE]
                  for m, y in pairs]  # fmt: skip
        nonconformity = torch.sort(1 - torch.cat(scores).double()).values
        return float(nonconformity[int(np.ceil((len(nonconformity) + 1) * (1 - ALPHA))) - 1])

    check(calibrate(maps, labels, ALPHA).qhat == by_hand(), "q-hat")
    functions = {
        "gather": lambda: [m.gather(0, index) for m, index in zip(maps, indices)],
        "calibrate": lambda: calibrate(maps, labels, ALPHA),
        "torch: gather, sort": by_hand,
    }
    return functions, sum(one.nbytes for one in maps)


def training_step(crop: int, classes: int) -> Callable[[Size], tuple[Functions, int]]:
    """A step of the quickstart's small student, its unlabelled half with and without the term."""

    def functions(size: Size) -> tuple[Functions, int]:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
        from training import Recipe, build_student

        draw = torch.Generator().manual_seed(0)
        batch = size.images
        photos = torch.rand(2 * batch, 3, crop, crop, generator=draw)
        labels = torch.randint(classes, (2 * batch, crop, crop), generator=draw)
        labels[torch.rand(labels.shape, generator=draw) < 0.3] = IGNORE
        masks, pseudo = labels[:batch], labels[batch:]
        recipe = Recipe("small", 100, crop, (1.0, 1.0), 1e-3, 1e-3, batch)
        criterion = nn.CrossEntropyLoss(ignore_index=IGNORE)
        supervise = ConformalSupervision(criterion, ignore_index=IGNORE)

        # One student for both, so that nothing but the term differs.
        student = build_student(recipe, classes, seed=0)
        optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6)
        given = torch.randn(batch, classes, crop, crop, generator=draw, requires_grad=True)

        def step(term: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], None]:
            def run() -> None:
                logits = student(photos)
                loss = criterion(logits[:batch], masks) + term(logits[batch:], pseudo)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

            return run

        def alone(term: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], None]:
            def run() -> None:
                given.grad = None
                term(given, pseudo).backward()

            return run

        def conformal(logits: Tensor, labels: Tensor) -> Tensor:
            return supervise(logits, labels, epoch=0)

        return {
            "step, cross_entropy(ignore_index)": step(criterion),
            "step, ConformalSupervision": step(conformal),
            "that cross_entropy alone": alone(criterion),
            "ConformalSupervision alone": alone(conformal),
        }, photos.nbytes

    return functions


def stream(scores: int, chunk: int) -> Functions:
    """Counting ``scores`` float16 scores of two classes, made on the fly, ``chunk`` at a time."""
    from time import perf_counter

    def run() -> dict[str, float]:
        rng = np.random.default_rng(0)
        calibrator = Calibrator()
        truth = np.zeros(2**16, dtype=np.int64)
        counting = 0.0
        done = 0
        while done < scores:
            width = min(chunk, scores - done)
            first = np.sqrt(rng.random((1, width), dtype=np.float32)).astype(np.float16)
            labels = np.zeros((1, width), dtype=np.uint8)
            maps = np.stack([first, np.float16(1) - first])
            began = perf_counter()
            calibrator.update(maps, labels)
            counting += perf_counter() - began
            truth += np.bincount(first.view(np.uint16).ravel(), minlength=2**16)
            done += width
        qhat = calibrator.result(ALPHA).qhat
        # The pattern of the rank-th smallest 1 - P, counted down from the largest P.
        rank = int(np.ceil((scores + 1) * (1 - ALPHA)))
        pattern = 2**16 - 1 - int(np.searchsorted(np.cumsum(truth[::-1]), rank))
        expected = 1.0 - float(np.uint16(pattern).view(np.float16))
        check(qhat == expected, "q-hat")
        return {"seconds": counting, "qhat": qhat, "expected": expected}

    return {"stream": run}


# From a size, the functions by name and the bytes of the maps. The first function is the floor that
# the others are compared with.
CASES: dict[str, Callable[[Size], tuple[Functions, int]]] = {
    "filter, float32": filter_case(torch.float32),
    "filter, float16": filter_case(torch.float16),
    "filter, channels last": filter_case(torch.float32, channels_last=True),
    "filter, 150 classes": filter_case(torch.float32),
    "filter, real maps": real_filter,
    "calibrate, float32": calibrate_case(torch.float32, peers=True),
    "calibrate, float16": calibrate_case(torch.float16, peers=False),
    "calibrate, 150 classes": calibrate_case(torch.float32, peers=False),
    "calibrate, real maps": real_calibrate,
    "evaluate, float32": evaluate_case,
    "training step, crop 64": training_step(64, 5),
    "training step, crop 160": training_step(160, 21),
}
