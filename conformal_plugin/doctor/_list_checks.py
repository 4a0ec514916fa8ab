"""Checks of the id lists and of the files that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from conformal_plugin.doctor._case import Case
from conformal_plugin.doctor._findings import Finding, check, error, ok, some, warning
from conformal_plugin.doctor._id_lines import IdLine, NotKnownError

__all__: list[str] = []

# UniMatch-V2 alone makes an empty mask for an unlabelled photo; the others open the file that the
# second column names, for its padding.
_OPENS_NO_UNLABELLED_MASK = {"UniMatch-V2"}

# The sizes of the "original" splits of PASCAL VOC: chosen from the 1,464 clean masks.
_FROM_CLEAN_MASKS = (92, 183, 366, 732, 1464)
_VOC_WITH_OWN_MASKS = 2913  # all images that VOC 2012 itself has segmentation masks of

_TRIED = 20  # lines of one column, to see whether they are paths
_LOGGED = 8  # times an epoch
_EIGHTH = re.compile(rb"len\(trainloader_u\)\s*//\s*8\b")


@check
def labelled_list(case: Case) -> Iterator[Finding]:
    """Each line is ``IMAGE MASK``, or ``IMAGE`` where the host finds the mask by itself."""
    yield from _well_formed(case, case.labelled_list, "labelled")


@check
def unlabelled_list(case: Case) -> Iterator[Finding]:
    """The hosts' dataset takes the second column of these lines too."""
    yield from _well_formed(case, case.unlabelled_list, "unlabelled")


def _well_formed(case: Case, path: Path | None, kind: str) -> Iterator[Finding]:
    try:
        lines = case.labelled if kind == "labelled" else case.unlabelled
    except NotKnownError as problem:
        if path is None:
            raise
        yield error(str(problem), "correct the path, or write the list as UTF-8 text")
        return
    if not lines:
        yield error(f"the {kind} list {path} is empty", "write a line IMAGE MASK for each photo")
        return
    blank = [line.number for line in lines if not line.text.strip()]
    if blank:
        yield error(
            f"the {kind} list has blank lines: {some(blank)}",
            "take them out: the host takes each for an image",
        )
    written = [line for line in lines if line.text.strip()]
    alone = all(line.mask is None for line in written) and not _needs_two_columns(case, kind)
    columns = 1 if alone else 2
    wrong = [
        line.number for line in written if len(line.text.split(" ")) != columns or line.mask == ""
    ]
    if wrong:
        yield error(
            f"{len(wrong)} lines of the {kind} list are not IMAGE MASK with one space between: "
            f"line {some(wrong)}",
            "write both paths, relative to data_root, separated by one space; no path may hold one",
        )
    photos = [line.photo for line in lines if line.text.strip()]
    repeated = len(photos) - len(set(photos))
    if repeated:
        yield warning(
            f"{repeated} lines of the {kind} list repeat a photo",
            "list each once: the host repeats labelled photos itself, and a calibration must count "
            "each once",
        )
    if not (blank or wrong or repeated):
        yield ok(f"the {kind} list has {len(lines)} photos" + (", in one column" if alone else ""))


def _needs_two_columns(case: Case, kind: str) -> bool:
    """Whether the host takes a line's second column, as far as its code shows."""
    if kind == "unlabelled" and _hosts(case) and _hosts(case) <= _OPENS_NO_UNLABELLED_MASK:
        return False
    return case.reading.second_column or not case.reading.opens


def _hosts(case: Case) -> set[str]:
    try:
        return {script.patch.recipe.host for script in case.scripts}
    except NotKnownError:
        return set()


@check
def lists_do_not_overlap(case: Case) -> Iterator[Finding]:
    """Photos that have a true mask need no pseudo-label, and flatter what is measured on them."""
    labelled = {line.photo for line in case.labelled}
    both = [line.photo for line in case.unlabelled if line.photo in labelled]
    if both:
        yield warning(
            f"{len(both)} photos are on both lists: {some(both)}",
            "take them off the unlabelled list: the threshold was chosen on them, so what is "
            "measured there says nothing about new photos",
        )
    else:
        yield ok("no photo is on both lists")


@check
def labelled_files(case: Case) -> Iterator[Finding]:
    """Photos and masks of the labelled list are there."""
    yield from _there(case, case.labelled, "labelled", masks=True)


@check
def unlabelled_files(case: Case) -> Iterator[Finding]:
    """Photos of the unlabelled list are there, and the masks that most hosts open for padding."""
    hosts = _hosts(case)
    masks = not hosts or not hosts <= _OPENS_NO_UNLABELLED_MASK
    yield from _there(case, case.unlabelled, "unlabelled", masks=masks)


def _there(case: Case, lines: Sequence[IdLine], kind: str, *, masks: bool) -> Iterator[Finding]:
    root = case.data_root
    named = [line for line in lines if line.photo]
    if not any(line.mask for line in named) and not any(
        path.is_file() for line in named[:_TRIED] for path in case.photos_of(line)
    ):
        raise NotKnownError(
            f"the {kind} list has one column, and how the host finds a photo from it is not known"
        )
    columns = {"photo": [path for line in named for path in case.photos_of(line)]}
    if masks:
        columns["mask"] = [path for line in named if (path := case.mask_of(line))]
    for what, paths in columns.items():
        distinct = list(dict.fromkeys(paths))
        looked_up = case.progress(distinct, f"{kind} {what}s")
        missing = [_below(path, root) for path in looked_up if not path.is_file()]
        if missing:
            remedy = "correct the list, or data_root"
            if (kind, what) == ("unlabelled", "mask"):
                remedy = (
                    "the host opens them, for the shape of its padding alone: name the "
                    "pseudo-labels there, as `conformal-plugin filter --photos ... --id-list` does"
                )
            yield error(
                f"{len(missing)} of {len(distinct)} {kind} {what}s are not in {root}: "
                f"{some(missing)}",
                remedy,
            )
        elif distinct:
            yield ok(f"all {len(distinct)} {kind} {what}s are there")


def _below(path: Path, root: Path) -> str:
    """A path as a list has it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


@check
def steps_in_an_epoch(case: Case) -> Iterator[Finding]:
    """Most hosts log every eighth of an epoch, and divide by zero where there are fewer steps."""
    batch = case.cfg.get("batch_size")
    if not isinstance(batch, int) or batch < 1:
        raise NotKnownError("the config has no usable batch_size")
    steps = len(case.unlabelled) // batch
    logging = [script.name for script in case.scripts if _EIGHTH.search(script.patch.before)]
    if logging and steps < _LOGGED:
        yield error(
            f"{len(case.unlabelled)} unlabelled photos make {steps} steps of batch_size {batch} an "
            f"epoch, and {some(logging)} divides by {_LOGGED}ths of them: it stops with a "
            "ZeroDivisionError",
            f"list {_LOGGED * batch} photos or more for each GPU, or choose a smaller batch_size",
        )
    else:
        yield ok(f"an epoch has {steps} steps of batch_size {batch} on one GPU")


@check
def labelled_and_unlabelled_are_alike(case: Case) -> Iterator[Finding]:
    """What a calibration promises is for photos drawn as the labelled ones were."""
    labelled = len({line.photo for line in case.labelled})
    both = labelled + len({line.photo for line in case.unlabelled})
    augmented = case.cfg.get("dataset") == "pascal" and both > _VOC_WITH_OWN_MASKS
    if augmented and labelled in _FROM_CLEAN_MASKS:
        yield warning(
            f"{labelled} labelled of {both} photos looks like an original split of the augmented "
            "PASCAL VOC: the labelled photos were chosen for their clean masks and the unlabelled "
            "ones were not, so the two are not exchangeable and no guarantee holds exactly",
            "take the promise as a rule of thumb, or use a split whose labelled photos were drawn "
            "at random from all",
        )
