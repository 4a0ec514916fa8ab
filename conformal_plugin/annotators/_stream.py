"""Photos through an annotator while threads read the next ones and write the last ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from conformal_plugin._messages import shortened
from conformal_plugin.annotators._protocol import Annotator, Photo, check_maps
from conformal_plugin.errors import AnnotatorError, ConformalError, SourceFileError

__all__ = ["Batch", "Result", "in_batches", "through"]

_BATCHES_AHEAD = 2

Batch: TypeAlias = "tuple[tuple[str, ...], frozenset[str]]"
"""Ids that go through the model together, and those of them that are still to be written."""


@dataclass(frozen=True)
class Result:
    """What became of one photo.

    Attributes:
        name: its id.
        problem: why it was skipped; empty where its map was written.
    """

    name: str
    problem: str = ""


def in_batches(names: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Cut ids into batches of ``size``.

    The cuts depend on the list alone, so that a photo has the same neighbours in its batch in every
    run, on every number of ranks and after every kill: scores can depend on them in their last
    bits.
    """
    return [tuple(names[start : start + size]) for start in range(0, len(names), size)]


def through(
    annotator: Annotator,
    batches: Iterable[Batch],
    *,
    read: Callable[[str], Photo],
    write: Callable[[str, Any], None],
    readers: int = 2,
    writers: int = 2,
    skip_failing: bool = False,
) -> Iterator[Result]:
    """Annotate batches, yielding a result for each id that was to be written, as it is written.

    Args:
        annotator: gives the scores, in the thread that iterates.
        batches: ids that go through the model together, and those of them that are still to be
            written; where there are none, the batch is passed over.
        read: the photo of an id, called in ``readers`` threads, two batches ahead. A photo that it
            raises :class:`conformal_plugin.errors.SourceFileError` for is skipped.
        write: keeps the scores of an id, called in ``writers`` threads.
        readers: number of threads that read.
        writers: number of threads that write.
        skip_failing: whether photos on which ``annotator`` fails are skipped.

    Raises:
        ConformalError: of ``annotator`` and ``write``, with the photos' ids; an AnnotatorError for
            what else the annotator raises.
    """
    reading = ThreadPoolExecutor(readers, thread_name_prefix="read")
    writing = ThreadPoolExecutor(writers, thread_name_prefix="write")
    written: deque[tuple[str, Future[None]]] = deque()
    try:
        for batch, wanted in _read_ahead(batches, read, reading):
            photos = {}
            for name, photo in batch:
                try:
                    photos[name] = photo.result()
                except SourceFileError as error:
                    if name in wanted:
                        yield Result(name, str(error))
            if not wanted & photos.keys():
                continue
            maps, failed = _annotated(annotator, photos)
            if failed and not skip_failing:
                _raise(failed)
            yield from (Result(name, str(why)) for name, why in failed.items() if name in wanted)
            for name, scores in maps.items():
                if name in wanted:
                    written.append((name, writing.submit(write, name, scores)))
            # No more maps wait in memory than the next batch brings.
            yield from _finished(written, len(batch) + writers)
        yield from _finished(written, 0)
    finally:
        for pool in (reading, writing):
            pool.shutdown(wait=True, cancel_futures=True)


def _read_ahead(
    batches: Iterable[Batch],
    read: Callable[[str], Photo],
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[list[tuple[str, Future[Photo]]], frozenset[str]]]:
    ahead: deque[tuple[list[tuple[str, Future[Photo]]], frozenset[str]]] = deque()
    for batch, wanted in batches:
        if not wanted:
            continue
        ahead.append(([(name, pool.submit(read, name)) for name in batch], wanted))
        if len(ahead) > _BATCHES_AHEAD:
            yield ahead.popleft()
    yield from ahead


def _annotated(
    annotator: Annotator, photos: dict[str, Photo]
) -> tuple[dict[str, Any], dict[str, Exception]]:
    """The maps of a batch; where it fails those of single photos, and why the others fail."""
    try:
        return dict(zip(photos, _checked(annotator, list(photos.values())))), {}
    except Exception as whole:  # a model can fail in any way, and on one of the photos alone
        maps: dict[str, Any] = {}
        failed: dict[str, Exception] = {}
        for name, photo in photos.items():
            try:
                (maps[name],) = _checked(annotator, [photo])
            except Exception as error:
                failed[name] = error
        if not maps:  # what was said of all together is what is wrong
            failed = dict.fromkeys(photos, whole)
        return maps, failed


def _checked(annotator: Annotator, photos: list[Photo]) -> Sequence[Any]:
    maps = annotator.annotate(photos)
    check_maps(annotator, photos, maps)
    return maps


def _raise(failed: dict[str, Exception]) -> NoReturn:
    names, first = ", ".join(failed), next(iter(failed.values()))
    if isinstance(first, ConformalError):
        raise type(first)(f"images {names}: {first}") from first
    raise AnnotatorError(
        f"images {names}: the annotator failed ({type(first).__name__}: {shortened(first)}); mend "
        f"it, or skip such photos (--skip-failing on the command line)"
    ) from first


def _finished(written: deque[tuple[str, Future[None]]], remaining: int) -> Iterator[Result]:
    """Wait until at most ``remaining`` maps are not written yet."""
    while len(written) > remaining:
        name, future = written.popleft()
        try:
            future.result()
        except ConformalError as error:
            raise type(error)(f"image {name}: {error}") from error
        yield Result(name)
