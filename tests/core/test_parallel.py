"""Several threads: items in order, errors where the result is asked for, and the same results."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from conformal_plugin import Calibration, calibrate, evaluate
from conformal_plugin.processes import _parallel, beside_others, in_parallel

SCORES = np.random.default_rng(0).random((9, 4, 12, 10), dtype=np.float32)
LABELS = np.random.default_rng(1).integers(0, 4, (9, 12, 10))


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """As many threads as are asked for, however few cores this machine has."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_items_come_in_order_and_few_are_taken_ahead(threads: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    for place, (item, result) in enumerate(in_parallel(lambda n: n * n, items())):
        assert (item, result()) == (place, place**2)
        assert len(taken) <= place + threads + 2
    assert place == 19


def test_work_is_done_by_that_many_threads(threads: int) -> None:
    together = threading.Barrier(threads)

    def work(_: int) -> int:
        together.wait(timeout=60)  # broken, and so an error, unless all are here at once
        return threading.get_ident()

    idents = {result() for _, result in in_parallel(work, range(2 * threads))}
    assert len(idents) == threads


def test_beside_others_torch_has_one_thread_and_the_work_all(threads: int) -> None:
    together = threading.Barrier(threads)

    def work(_: int) -> int:
        together.wait(timeout=60)
        return sum(1 for _ in in_parallel(lambda n: n, range(3))) + torch.get_num_threads()

    with beside_others():
        with beside_others():
            assert torch.get_num_threads() == 1
        found = [result() for _, result in in_parallel(work, range(2 * threads))]
        assert torch.get_num_threads() == 1
    assert found == [4] * 2 * threads
    assert torch.get_num_threads() == threads


def test_torch_has_one_thread_where_earlier_work_did_not_ask_it(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_parallel, "_pools", {})
    assert [result() for _, result in in_parallel(lambda n: n, range(6))] == list(range(6))
    asked = [result() for _, result in in_parallel(lambda _: torch.get_num_threads(), range(6))]
    assert asked == [1] * 6


def test_an_error_is_raised_where_its_result_is_asked_for(threads: int) -> None:
    waiting = in_parallel(lambda n: 6 // n, [3, 2, 0, 1])
    assert [next(waiting)[1]() for _ in range(2)] == [2, 3]
    _, failed = next(waiting)
    with pytest.raises(ZeroDivisionError):
        failed()
    assert [result() for _, result in waiting] == [6]  # and all is done that is done in the end


def results() -> tuple[Calibration, dict[str, Any]]:
    calibration = calibrate(SCORES, LABELS, 0.2)
    return calibration, evaluate(SCORES, LABELS, calibration).to_dict()


def test_threads_change_no_result(threads: int) -> None:
    calibrators = [calibrate(SCORES[i : i + 1], LABELS[i : i + 1], 0.2).qhat for i in range(9)]
    assert len(set(calibrators)) > 1  # images differ, so that a wrong order or a lost one shows
    calibration, measured = results()
    torch.set_num_threads(1)
    alone, measured_alone = results()
    assert calibration == alone
    assert {key: str(value) for key, value in measured.items()} == {
        key: str(value) for key, value in measured_alone.items()
    }


# Python 3.12 and later point out that a process which is forked has threads.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_afterwards_works_on_its_own_threads(threads: int) -> None:
    expected = [result() for _, result in in_parallel(abs, range(-5, 0))]

    def child() -> None:
        again = [result() for _, result in in_parallel(abs, range(-5, 0))]
        os._exit(0 if again == expected else 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(timeout=60)
    process.kill()
    assert process.exitcode == 0
