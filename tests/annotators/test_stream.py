"""Reading, annotating and writing overlap; what fails is told by name, and no thread stays."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from conformal_plugin.annotators import FunctionAnnotator, Result, in_batches, through
from conformal_plugin.errors import OptionError, ScoreError, ShapeError, SourceFileError
from conformal_plugin.processes import Rank

NAMES = tuple(f"p{number}" for number in range(8))
PATIENCE = 20.0


def photo(name):
    return np.full((2, 3, 3), int(name[1:]), np.uint8)


def annotator(function=lambda photo: photo[None, ..., 0] / np.float32(255)):
    return FunctionAnnotator(function, ("a",))


def all_of(names, size):
    return [(batch, frozenset(batch)) for batch in in_batches(names, size)]


def no_threads_left():
    return not [t for t in threading.enumerate() if t.name.startswith(("read_", "write_"))]


def test_everything_wanted_is_written_once():
    written = {}
    batches = [
        (("p0", "p1"), frozenset({"p1"})),
        (("p2",), frozenset()),
        (("p3",), frozenset({"p3"})),
    ]
    read = []
    results = through(
        annotator(),
        batches,
        read=lambda name: read.append(name) or photo(name),
        write=lambda name, scores: written.update({name: float(scores.max() * 255)}),
    )
    assert sorted(result.name for result in results) == ["p1", "p3"]
    assert written == {"p1": 1.0, "p3": 3.0}
    assert sorted(read) == ["p0", "p1", "p3"]  # neighbours in the batch are read, the rest is not
    assert no_threads_left()


def test_the_next_photos_are_read_while_the_model_works():
    read_later = threading.Event()

    def read(name):
        if name == "p1":
            read_later.set()
        return photo(name)

    def slow(picture):
        assert read_later.wait(PATIENCE), "the second photo was not read ahead"
        return picture[None, ..., 0] / np.float32(255)

    results = through(annotator(slow), all_of(NAMES, 1), read=read, write=lambda name, scores: None)
    assert len(list(results)) == len(NAMES)


def test_the_model_goes_on_while_maps_are_written():
    second = threading.Event()

    def work(picture):
        if picture[0, 0, 0] == 1:
            second.set()
        return picture[None, ..., 0] / np.float32(255)

    def write(name, scores):
        assert second.wait(PATIENCE), "the model waited for the first map to be written"

    results = through(annotator(work), all_of(NAMES, 1), read=photo, write=write)
    assert len(list(results)) == len(NAMES)


def test_memory_is_bounded():
    open_maps, most, lock = [0], [0], threading.Lock()

    def work(picture):
        with lock:
            open_maps[0] += 1
            most[0] = max(most[0], open_maps[0])
        return picture[None, ..., 0] / np.float32(255)

    def write(name, scores):
        with lock:
            open_maps[0] -= 1

    names = [f"p{number}" for number in range(100)]
    assert len(list(through(annotator(work), all_of(names, 2), read=photo, write=write))) == 100
    assert most[0] <= 2 * 2 + 2  # this batch, the last one, and those in the writers' hands


def test_photos_that_cannot_be_read_are_skipped_and_named():
    def read(name):
        if name in ("p2", "p3"):
            raise SourceFileError(f"{name} is half a file")
        return photo(name)

    seen = []
    results = list(
        through(annotator(), all_of(NAMES, 2), read=read, write=lambda n, s: seen.append(n))
    )
    assert sorted(seen) == ["p0", "p1", "p4", "p5", "p6", "p7"]
    assert [r for r in results if r.problem] == [
        Result("p2", "p2 is half a file"),
        Result("p3", "p3 is half a file"),
    ]


def test_what_goes_wrong_names_its_photos():
    with pytest.raises(
        ShapeError, match=r"images p0, p1: the annotator gave scores of shape \(1, 1"
    ):
        list(
            through(
                annotator(lambda p: np.zeros((1, 1, 1), np.float32)),
                all_of(NAMES, 2),
                read=photo,
                write=lambda name, scores: None,
            )
        )

    def refuse(name, scores):
        raise ScoreError("too large")

    with pytest.raises(ScoreError, match="image p0: too large"):
        list(through(annotator(), all_of(NAMES, 2), read=photo, write=refuse))
    assert no_threads_left()


def test_an_annotator_must_give_one_map_a_photo():
    class Forgetful(FunctionAnnotator):
        def annotate(self, photos):
            return super().annotate(photos)[1:]

    forgetful = Forgetful(lambda p: p[None, ..., 0] / np.float32(255), ("a",))
    with pytest.raises(ShapeError, match="gave 1 maps for 2 photos"):
        list(through(forgetful, all_of(NAMES, 2), read=photo, write=lambda name, scores: None))


def test_ranks_share_everything_once():
    batches = in_batches(NAMES, 3)
    assert batches == [("p0", "p1", "p2"), ("p3", "p4", "p5"), ("p6", "p7")]
    shares = [Rank(number, 4).share(batches) for number in range(4)]
    assert sorted(name for share in shares for batch in share for name in batch) == list(NAMES)
    assert shares[3] == []


@pytest.mark.parametrize(
    "environment", [{"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "x"}, {"LOCAL_RANK": "-1"}]
)
def test_ranks_that_are_none(environment):
    with pytest.raises(OptionError, match="start several processes with torchrun"):
        Rank.of(environment)


def test_ranks_from_the_environment():
    assert Rank.of({}) == Rank(0, 1, 0)
    assert Rank.of({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}) == Rank(5, 8, 1)


def test_functions_are_told_apart_by_their_lines():
    def one(picture):
        return picture[None, ..., 0] / np.float32(255)

    def other(picture):
        return picture[None, ..., 1] / np.float32(255)

    prints = [FunctionAnnotator(f, ("a",)).fingerprint for f in (one, other)]
    assert prints[0]["source"] != prints[1]["source"]
    more = FunctionAnnotator(one, ("a",), fingerprint={"weights": "abc"}).fingerprint
    assert more == {**prints[0], "weights": "abc"}
    with pytest.raises(OptionError, match="the first class is called background"):
        FunctionAnnotator(one, ("a", "b"), background="prompt")
    with pytest.raises(OptionError, match="one of prompt, complement, none, got 'rest'"):
        FunctionAnnotator(one, ("a", "b"), background="rest")
