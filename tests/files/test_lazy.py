"""Lazy sequences read each item when it is its turn, one ahead."""

from __future__ import annotations

import itertools
import threading

import pytest

from conformal_plugin import calibrate
from conformal_plugin.files import LazySequence


def test_at_most_one_item_is_read_ahead():
    read = []
    items = LazySequence(lambda n: read.append(n) or n, range(100))
    assert read == []
    assert list(itertools.islice(items, 3)) == [0, 1, 2]
    assert len(read) <= 4
    assert not [t for t in threading.enumerate() if t.name.startswith("read-ahead")]


def test_parts():
    items = LazySequence(str, range(5))
    assert list(items[3:]) == ["3", "4"]
    assert list(items.take([4, 0])) == ["4", "0"]
    assert items[-1] == "4"
    assert len(items[1:]) == 4
    assert list(LazySequence(str, [])) == []


def test_an_error_surfaces_at_its_item():
    items = iter(LazySequence(lambda n: 1 // n, [1, 0, 1]))
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_calibrate_reads_float32_twice_and_is_exact():
    import numpy as np

    rng = np.random.default_rng(0)
    scores = [rng.random((3, 5, 4)).astype(np.float32) for _ in range(6)]
    labels = [rng.integers(0, 3, (5, 4)) for _ in range(6)]
    lazy = calibrate(
        LazySequence(scores.__getitem__, range(6)), LazySequence(labels.__getitem__, range(6)), 0.2
    )
    assert lazy.resolution == 0.0
    assert lazy == calibrate(scores, labels, 0.2)
