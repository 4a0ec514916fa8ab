"""The compiled loops give what the code without Numba gives, and stay out of the way."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from conformal_plugin import Calibrator, calibrate, evaluate, filter
from conformal_plugin._choices import RULES
from conformal_plugin.calibration._selecting import select
from conformal_plugin.errors import LabelError, ScoreError
from conformal_plugin.labelling import label_part
from conformal_plugin.labelling._cpu_labels import map_parts
from conformal_plugin.scores import (
    LabelledScores,
    compiled,
    grid_of,
    patterns_of,
    read_true_scores,
)

pytest.importorskip("numba")

ALWAYS, NEVER = 0, 2**62
DTYPES = ("float16", "bfloat16", "float32", "float64", "uint8", "int16")
LAYOUTS = ("contiguous", "channels last", "transposed", "cropped", "expanded")


def both(monkeypatch: pytest.MonkeyPatch, function: Any) -> tuple[Any, Any]:
    """What a function gives with the compiled loops and without."""
    results = []
    for least in (ALWAYS, NEVER):
        monkeypatch.setattr(compiled, "_LEFT_TO_NUMPY", least)
        results.append(function())
    return results[0], results[1]


def made(dtype: str, layout: str, shape: tuple[int, ...], rng: np.random.Generator) -> torch.Tensor:
    """Scores ``(K, H, W)`` with many ties, zeros and ones."""
    classes, height, width = shape
    steps = np.round(rng.random((classes, height + 2, width + 3)) * 6) / 6
    real = torch.from_numpy(steps * (rng.random(steps.shape) < 0.9))
    floating = "float" in dtype
    kind = getattr(torch, dtype)
    scores = real.to(kind) if floating else (real * torch.iinfo(kind).max).round().to(kind)
    if layout == "cropped":
        return scores[:, 1 : 1 + height, 2 : 2 + width]
    scores = scores[:, :height, :width].contiguous()
    if layout == "channels last":
        return scores.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    if layout == "transposed":
        return scores.transpose(1, 2).contiguous().transpose(1, 2)
    return scores[:, :1].expand(classes, height, width) if layout == "expanded" else scores


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    seed=st.integers(0, 10**6),
    layout=st.sampled_from(LAYOUTS),
    rule=st.sampled_from(RULES),
    classes=st.sampled_from([2, 5, 254, 256]),
    per_class=st.booleans(),
)
def test_labels_and_set_sizes(
    dtype: str, seed: int, layout: str, rule: str, classes: int, per_class: bool
) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 40, 2))
    scores = made(dtype, layout, (classes, height, width), rng)
    grid = grid_of(scores)
    bounds: list[int | None] = [grid.least_pattern(float(rng.random()))] * classes
    if per_class:
        bounds = [grid.least_pattern(float(q)) for q in rng.choice([-1.0, 0.2, 0.5, 1.0], classes)]
    background = int(rng.integers(classes))
    ignore = int(rng.choice([255, 300])) if classes < 255 else 300
    kind = np.uint8 if ignore == 255 and classes < 255 else np.int16
    with pytest.MonkeyPatch.context() as monkeypatch:

        def label() -> tuple[Any, Any, int]:
            out, sizes = np.full((2, 1, height, width), 77, dtype=kind)
            tops = map_parts(
                lambda *part: label_part(
                    *part[:1], bounds, *part[1:], rule=rule, background=background,
                    ignore_index=ignore,
                ),
                patterns_of(scores[None]), out, sizes,
            )  # fmt: skip
            return out, sizes, max(tops)

        fast, plain = both(monkeypatch, label)
    np.testing.assert_array_equal(fast[0], plain[0])
    np.testing.assert_array_equal(fast[1], plain[1])
    assert fast[2] == plain[2] or max(fast[2], plain[2]) <= grid.top


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bad", [math.nan, 1.0000001, -1e-30, math.inf])
@pytest.mark.parametrize("channel", [0, 1, 3])
def test_no_bad_score_passes(
    rule: str, bad: float, channel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_LEFT_TO_NUMPY", ALWAYS)
    rng = np.random.default_rng(0)
    masks = rng.random((2, 4, 50, 60), dtype=np.float32)
    masks[1, channel, 49, 59] = bad
    for qhat in (0.4, [0.4, -1.0, 0.3, 0.2]):  # no score of class 1 is in a set
        with pytest.raises(ScoreError):
            filter(masks, qhat, rule=rule)
        with pytest.raises(ScoreError):
            evaluate(masks, np.zeros((2, 50, 60), dtype=np.uint8), qhat, rule=rule)
    labels = np.full((2, 50, 60), channel)
    with pytest.raises(ScoreError):
        calibrate(masks, labels, 0.1)
    labels[1, 49, 59] = 255
    assert calibrate(masks, labels, 0.1).n_pixels == 2 * 50 * 60 - 1


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    seed=st.integers(0, 10**6),
    layout=st.sampled_from(LAYOUTS),
    labels=st.sampled_from(["uint8", "int64", "int16", "uint32"]),
    ignore=st.sampled_from([255, -1, 7, 1000]),
    bad=st.booleans(),
)
def test_true_scores(
    dtype: str, seed: int, layout: str, labels: str, ignore: int, bad: bool
) -> None:
    rng = np.random.default_rng(seed)
    classes, height, width = (int(side) for side in rng.integers(1, [6, 40, 700]))
    scores = made(dtype, layout, (classes, height, width), rng)
    truth = rng.integers(0, classes, (height, width)).astype(labels)
    info = np.iinfo(labels)
    if info.min <= ignore <= info.max:
        truth[rng.random(truth.shape) < 0.3] = ignore
    if bad:
        truth[-1, -1] = classes
    if not hasattr(torch, labels):
        return
    item = LabelledScores(scores, torch.from_numpy(truth))
    grid = grid_of(scores)

    def read() -> Any:
        try:
            return read_true_scores(item, ignore, grid)
        except LabelError as error:
            return str(error)

    with pytest.MonkeyPatch.context() as monkeypatch:
        fast, plain = both(monkeypatch, read)
    if isinstance(plain, str):
        assert fast == plain
        return
    for name in ("patterns", "classes", "pixels"):
        np.testing.assert_array_equal(
            np.asarray(getattr(fast, name)), np.asarray(getattr(plain, name)), err_msg=name
        )


@given(seed=st.integers(0, 10**6), spread=st.sampled_from([1, 3, 1000, 2**31]))
def test_order_statistics_and_counts(seed: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [
        rng.integers(0, spread, int(size)).astype(np.uint32)
        for size in rng.integers(0, [1, 50, 5000])
    ]
    if seed % 2:  # what a sample of every 61st number does not expect
        for array in arrays:
            array[::61] = 0
    total = sum(len(array) for array in arrays)
    if not total:
        return
    index = int(rng.integers(total))

    def start(number: int) -> int:
        return number // 100 * 100

    with pytest.MonkeyPatch.context() as monkeypatch:
        fast, plain = both(monkeypatch, lambda: select(arrays, index, start))
    number = int(np.sort(np.concatenate(arrays))[index])
    assert fast == plain == (number, [int((a >= start(number)).sum()) for a in arrays])


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_the_whole_is_the_same(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    scores = made(dtype, "contiguous", (5, 64, 90), rng)
    batch = torch.stack([scores, scores.flip(1)])
    labels = torch.from_numpy(rng.choice([0, 1, 2, 3, 4, 255], (2, 64, 90)))

    def everything() -> Any:
        calibration = calibrate(batch, labels, 0.3)
        stream = Calibrator()
        for image, truth in zip(batch, labels):
            stream.update(image, truth)
        return (
            calibration,
            stream.result(0.2),
            *(filter(batch, 0.45, rule=rule).tolist() for rule in RULES),
            *(evaluate(batch, labels, [0.2, 0.4, 0.6, 0.8, math.inf], rule=r) for r in RULES),
            evaluate(batch[0].flatten(1).T, labels[0].flatten(), 0.45),
        )

    fast, plain = both(monkeypatch, everything)
    assert fast == plain


def test_the_first_data_are_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_seen", 0)
    half = compiled._LEFT_TO_NUMPY // 2
    found = [compiled.loops_for("labelling", half) for _ in range(4)]
    assert [loops is not None for loops in found] == [False, False, True, True]


def test_numba_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_LEFT_TO_NUMPY", ALWAYS)
    assert compiled.loops_for("labelling", 1) is not None
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    compiled._loaded.cache_clear()
    assert compiled.loops_for("labelling", 1) is None
    compiled._loaded.cache_clear()


def test_a_numba_that_breaks_is_named_once_and_not_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled._loaded.cache_clear()
    monkeypatch.setattr(compiled, "_LEFT_TO_NUMPY", ALWAYS)
    monkeypatch.delitem(sys.modules, "conformal_plugin.scores.compiled._labelling", raising=False)
    monkeypatch.setitem(sys.modules, "conformal_plugin.scores.compiled._machine_code", None)
    masks = np.random.default_rng(0).random((4, 50, 50), dtype=np.float32)
    with pytest.warns(RuntimeWarning, match="conformal-plugin\\[fast\\]") as caught:
        labels = filter(masks, 0.3)
    assert len(caught) == 1
    np.testing.assert_array_equal(filter(masks, 0.3), labels)  # warnings are errors here
    compiled._loaded.cache_clear()
    monkeypatch.undo()
    np.testing.assert_array_equal(filter(masks, 0.3), labels)


def test_a_stumble_of_python_over_its_threads_costs_a_second_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts: list[str] = []
    whole = importlib.import_module

    def stumbling(name: str) -> object:
        attempts.append(name)
        if len(attempts) == 1:
            raise SystemError("AST constructor recursion depth mismatch")
        return whole(name)

    compiled._loaded.cache_clear()
    monkeypatch.setattr(compiled.importlib, "import_module", stumbling)
    assert compiled._loaded("reading") is not None
    assert len(attempts) == 2
    compiled._loaded.cache_clear()


def test_where_nothing_can_be_kept_on_disk_it_is_compiled_each_time(
    tmp_path: Path, fresh_python: Callable[..., None]
) -> None:
    """Numba refuses to keep code where no folder can be written to."""
    code = (
        "import numba.core.caching as caching\n"
        "base = caching.CacheImpl if hasattr(caching, 'CacheImpl') else caching._CacheImpl\n"
        "base._locator_classes = []\n"
        "import numpy as np\n"
        "from conformal_plugin import filter\n"
        "from conformal_plugin.scores import compiled\n"
        "masks = np.random.default_rng(0).random((4, 50, 50), dtype=np.float32)\n"
        "compiled._LEFT_TO_NUMPY = 0\n"
        "assert compiled.loops_for('labelling', masks.size).__name__.endswith('labelling')\n"
        "fast = filter(masks, 0.3)\n"
        "compiled._LEFT_TO_NUMPY = 2**62\n"
        "assert (filter(masks, 0.3) == fast).all()\n"
    )
    fresh_python(code, "-W", "error", cwd=tmp_path)


def test_numba_is_imported_for_much_data_alone(fresh_python: Callable[..., None]) -> None:
    code = (
        "import sys, numpy as np\n"
        "from conformal_plugin import filter\n"
        "masks = np.random.default_rng(0).random((16, 1024, 1024), dtype=np.float32)\n"
        "for _ in range(4):\n"
        "    labels = filter(masks, 0.3)\n"
        "    assert 'numba' not in sys.modules\n"
        "assert (filter(masks, 0.3) == labels).all()\n"
        "assert 'numba' in sys.modules\n"
    )
    fresh_python(code)
