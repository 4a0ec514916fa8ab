"""Checks of what true masks and pseudo-labels hold."""

from __future__ import annotations

from collections.abc import Iterator

from conformal_plugin.adapters.labels import PseudoLabelFolder
from conformal_plugin.doctor._case import Case
from conformal_plugin.doctor._contents import Contents
from conformal_plugin.doctor._findings import Finding, check, error, ok, some, warning
from conformal_plugin.doctor._id_lines import NotKnownError
from conformal_plugin.errors import ConformalError
from conformal_plugin.files import brightness_change

__all__: list[str] = []

_HOST_IGNORES = 255  # the hosts' own label of pixels without a class, in true masks
_NEARLY_NONE = 0.01


@check
def true_masks_can_be_read(case: Case) -> Iterator[Finding]:
    """Masks drawn in colours are the usual reason why they cannot be."""
    yield from _readable(case.masks, "labelled masks")


@check
def true_masks_hold_classes(case: Case) -> Iterator[Finding]:
    """A value that is no class stops a run on the GPU with a CUDA assertion."""
    contents, nclass = case.masks, case.nclass
    yield from _in_range(contents, "labelled masks", nclass, _HOST_IGNORES)
    classes = contents.counts().keys() - {_HOST_IGNORES}
    if contents.counts() and classes <= {0}:
        held = " and ".join(map(str, sorted(contents.counts())))
        yield error(
            f"the labelled masks ({contents.share}) hold {held} alone, so no class but the "
            "background would be learnt",
            f"number the classes from 0; {_HOST_IGNORES} is no class, the hosts ignore it",
        )


@check
def true_masks_are_as_large_as_their_photos(case: Case) -> Iterator[Finding]:
    """The hosts resize both by the photo's size, and a mask of another size no longer fits."""
    yield from _as_large(case.masks, "labelled masks", "resize them (nearest neighbour)")


@check
def masks_that_are_read_as_brightness(case: Case) -> Iterator[Finding]:
    """Of a palette file, ``.convert("L")`` gives the brightness of its colours, not its classes."""
    places = case.reading.conversions
    if not places:
        return
    where = f"{places[0].place}, `{places[0].text}`"
    found = False
    for paths, what, problem in (
        (case.mask_files(case.labelled), "labelled masks", error),
        (case.mask_files(case.unlabelled), "masks of the unlabelled list", warning),
    ):
        changed = [(path, change) for path in paths if (change := brightness_change(path))]
        if changed:
            found = True
            before, after = changed[0][1]
            names = some(path.name for path, _ in changed)
            yield problem(
                f"the host reads masks as brightness ({where}), and {len(changed)} {what} have a "
                f"palette: class {before} becomes {after}: {names}",
                "write them as grey files, pseudo-labels with `conformal-plugin filter --grey`",
            )
    if not found:
        yield ok(f"the host reads masks as brightness ({where}), and they are grey")


@check
def every_unlabelled_photo_has_a_pseudo_label(case: Case) -> Iterator[Finding]:
    """All are looked up, as they are when training starts."""
    lines = [line.text for line in case.unlabelled if line.text.strip()]
    try:
        PseudoLabelFolder(case.options.pseudo_labels, lines)
    except ConformalError as problem:
        yield error(str(problem))
    else:
        yield ok(f"every unlabelled photo has a pseudo-label in {case.options.pseudo_labels}")


@check
def pseudo_labels_can_be_read(case: Case) -> Iterator[Finding]:
    """Damaged files, and images of colours."""
    yield from _readable(case.pseudo_labels, "pseudo-labels")


@check
def pseudo_labels_are_as_large_as_their_photos(case: Case) -> Iterator[Finding]:
    """A run stops at the first one that is not."""
    remedy = "make them again with `conformal-plugin filter --photos DIR`, and --resize if needed"
    yield from _as_large(case.pseudo_labels, "pseudo-labels", remedy)


@check
def pseudo_labels_hold_classes(case: Case) -> Iterator[Finding]:
    """Annotator and host must number the same classes in the same way."""
    yield from _in_range(
        case.pseudo_labels, "pseudo-labels", case.nclass, case.options.ignore_index
    )


@check
def pixels_that_are_kept(case: Case) -> Iterator[Finding]:
    """Nothing can be learnt from labels that are all dropped."""
    contents, dropped = case.pseudo_labels, case.options.ignore_index
    counts = contents.counts()
    pixels = sum(counts.values())
    if not pixels:
        return
    kept = 1 - counts[dropped] / pixels
    text = f"{100 * kept:.1f} % of the pixels are kept (pseudo-labels: {contents.share})"
    empty = sum(1 for one in contents.maps if one.counts and set(one.counts) == {dropped})
    if kept == 0:
        yield error(
            f"no pixel is kept: the pseudo-labels ({contents.share}) hold {dropped} alone",
            "filter with a smaller alpha (a larger one for the rule singleton), or another "
            "calibration",
        )
    elif kept < _NEARLY_NONE:
        yield warning(
            text,
            "filter with a smaller alpha (a larger one for the rule singleton); look at it with "
            "`conformal-plugin evaluate`",
        )
    else:
        yield ok(text + (f"; {empty} photos have none" if empty else ""))


@check
def classes_that_are_kept(case: Case) -> Iterator[Finding]:
    """A class without a kept pixel is learnt from the labelled photos alone."""
    contents = case.pseudo_labels
    held = {value for value in contents.counts() if value < case.nclass}
    never = sorted(set(range(case.nclass)) - held - {case.options.ignore_index})
    if len(never) == case.nclass:
        return  # no pixel is kept at all, which is said already
    if never:
        try:
            in_masks = case.masks.counts()
        except NotKnownError:
            shown = []
        else:
            shown = [value for value in never if value in in_masks]
        labelled = f"; the labelled masks show {' '.join(map(str, shown))}" if shown else ""
        yield warning(
            f"classes without a single kept pixel (pseudo-labels: {contents.share}): "
            f"{' '.join(map(str, never))}{labelled}",
            "if the unlabelled photos show them, calibrate per class, or filter with another rule "
            "or alpha; stage I learns them from the labelled photos alone",
        )
    else:
        yield ok(f"every class has kept pixels (pseudo-labels: {contents.share})")


def _readable(contents: Contents, what: str) -> Iterator[Finding]:
    broken = [one for one in contents.maps if one.problem]
    if broken:
        names = some(one.name for one in broken)
        yield error(
            f"{len(broken)} {what} ({contents.share} read) cannot be used: {names}",
            f"of the first: {broken[0].problem}",
        )
    else:
        yield ok(f"the {what} can be read ({contents.share})")


def _in_range(contents: Contents, what: str, nclass: int, ignore_index: int) -> Iterator[Finding]:
    allowed = {*range(nclass), ignore_index}
    wrong = {one.name: sorted(one.counts.keys() - allowed) for one in contents.maps}
    wrong = {name: values for name, values in wrong.items() if values}
    if wrong:
        values = sorted({value for found in wrong.values() for value in found})
        yield error(
            f"{len(wrong)} {what} ({contents.share} read) hold values that are neither a class "
            f"0 ... {nclass - 1} nor {ignore_index}: {some(values)} in {some(wrong)}",
            "correct nclass, or number the classes from 0 without a gap",
        )
    else:
        yield ok(f"the {what} hold classes 0 ... {nclass - 1} and {ignore_index} alone")


def _as_large(contents: Contents, what: str, remedy: str) -> Iterator[Finding]:
    wrong = [one for one in contents.maps if one.size and one.size != one.photo_size]
    if wrong:
        first = wrong[0]
        yield error(
            f"{len(wrong)} {what} ({contents.share} read) are not as large as their photos: "
            f"{some(one.name for one in wrong)}; the first is {_size(first.size)} and its photo "
            f"{_size(first.photo_size)} (H x W)",
            remedy,
        )
    else:
        yield ok(f"the {what} are as large as their photos ({contents.share})")


def _size(size: tuple[int, int] | None) -> str:
    return "unknown" if size is None else f"{size[0]} x {size[1]}"
