"""Lazy sequences read each item when it is its turn, one ahead."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from conformal_plugin import calibrate
from conformal_plugin.files import LazySequence


def test_at_most_one_item_is_read_ahead():
    before = set(threading.enumerate())  # an error that is still held keeps a thread of its own
    read = []
    items = LazySequence(lambda n: read.append(n) or n, range(100))
    assert read == []
    assert list(itertools.islice(items, 3)) == [0, 1, 2]
    assert len(read) <= 4
    assert not [t for t in set(threading.enumerate()) - before if t.name.startswith("read-ahead")]


def test_parts():
    items = LazySequence(str, range(5))
    assert list(items[3:]) == ["3", "4"]
    assert list(items.take([4, 0])) == ["4", "0"]
    assert items[-1] == "4"
    assert len(items[1:]) == 4
    assert list(LazySequence(str, [])) == []


def test_arrays_that_fit_are_read_once():
    read = []

    def made(n):
        read.append(n)
        return "no array" if n == 2 else np.full(4, n, dtype=np.uint8)

    items = LazySequence(made, range(6)).kept(12)  # three arrays
    first = list(items)
    assert read == [0, 1, 2, 3, 4, 5]
    again = list(items)
    assert read[6:] == [2, 4, 5]
    assert all(one is other for one, other in zip(first, again) if one[0] in (0, 1, 3))
    assert [str(item) for item in items[3:]] == [str(item) for item in first[3:]]
    assert read[9:] == [4, 5]
    assert list(LazySequence(made, range(2)).kept(0)[1]) == [1, 1, 1, 1]


def test_an_error_surfaces_at_its_item():
    items = iter(LazySequence(lambda n: 1 // n, [1, 0, 1]))
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_calibrate_reads_float32_twice_and_is_exact():
    rng = np.random.default_rng(0)
    scores = [rng.random((3, 5, 4)).astype(np.float32) for _ in range(6)]
    labels = [rng.integers(0, 3, (5, 4)) for _ in range(6)]
    lazy = calibrate(
        LazySequence(scores.__getitem__, range(6)), LazySequence(labels.__getitem__, range(6)), 0.2
    )
    assert lazy.resolution == 0.0
    assert lazy == calibrate(scores, labels, 0.2)
