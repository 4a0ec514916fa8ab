"""The edit of a script whose labels are replaced where it makes them, found by what it does."""

from __future__ import annotations

from dataclasses import replace

from conformal_plugin.adapters.patching._label_sites import (
    NoLabelMade,
    OwnLabels,
    find_label_sites,
    labels_beside,
)
from conformal_plugin.adapters.patching._other_loops import another_kind
from conformal_plugin.adapters.patching._patching import Patch, edited, without_inserted_lines
from conformal_plugin.adapters.patching._placing import (
    Place,
    Script,
    beside,
    import_place,
    with_readable_names,
)
from conformal_plugin.adapters.patching._recipe import Recipe
from conformal_plugin.adapters.patching._training_loop import (
    NoHeadToTakeApart,
    NotThisKind,
    TrainingLoop,
    find_training_loop,
)

__all__ = ["AT_THEIR_SOURCE", "goes_on_beside", "patch_labels"]

AT_THEIR_SOURCE = "labels at their source"
"""What stands in the place of a host's name where a script was found by what it does."""

_IMPORT = "from conformal_plugin.adapters.source import SourceLoop"
_RECIPE = Recipe(host=AT_THEIR_SOURCE, script="", imports=(_IMPORT,), insertions=(), needs=())


def patch_labels(source: bytes) -> Patch:
    """Patch a script where it makes its labels.

    Args:
        source: the script as it is on disk, patched or not.

    Returns:
        What it becomes; with a note for each kind of label that stays the script's own.
    """
    marked, before, problem = without_inserted_lines(source)
    if problem:
        return Patch(_RECIPE, before, None, problems=(problem,))
    script = Script(before)
    try:
        loop = find_training_loop(script)
    except NoHeadToTakeApart as found:
        told = another_kind(script, found.scope, found.loop)
        return Patch(_RECIPE, before, None, problems=(told,))
    except NotThisKind as reason:
        return Patch(_RECIPE, before, None, problems=(str(reason),))
    places = _around_the_loop(script, loop)
    try:
        sites, own = find_label_sites(script.tree, loop)
    except NoLabelMade as reason:
        return Patch(_RECIPE, before, None, problems=(str(reason),))
    except NotThisKind as reason:
        certain = tuple(place for place in places if not place.problem)
        return Patch(_RECIPE, before, None, places=certain, problems=(str(reason),))
    for site in sites:
        wanted = f"the statement that makes `{site.label}` and `{site.confidence}`"
        call = (
            f"{site.confidence}, {site.label} = conformal.source(",
            f"    {site.confidence}, {site.label}, {site.photos}, part={loop.photos[site.photos]})",
        )
        joined = call[0] + call[1].strip()
        put = (joined,) if len(joined) < 80 else call
        places.append(beside(site.after, "after", put, script, wanted))
    brought = ("SourceLoop", "conformal")
    places = with_readable_names(places, brought, script, loop.scope)
    return replace(edited(_RECIPE, script, places, source, marked), notes=tuple(map(_note, own)))


def goes_on_beside(before: bytes, recipe: Recipe) -> tuple[str, ...]:
    """Notes on labels that reach the loss of a known host's script beside the recipe's losses."""
    script = Script(before)
    losses = {name for insertion in recipe.insertions for name in insertion.reads}
    try:
        lines = labels_beside(script.tree, find_training_loop(script), losses)
    except NotThisKind:
        return ()
    return tuple(
        f"line {line}: a loss beside those that are replaced reads these labels of the script's "
        "own, in stage I too"
        for line in lines
    )


def _around_the_loop(script: Script, loop: TrainingLoop) -> list[Place]:
    places = [import_place(script, loop.scope, loop.datasets[0].lineno, (_IMPORT,))]
    for number, dataset in enumerate(loop.datasets):
        name = dataset.targets[0].id  # type: ignore[attr-defined]  # it was found by its name
        lines: tuple[str, ...] = (f"{name} = conformal.align({name})",)
        if number == 0:
            lines = (f"conformal = SourceLoop({loop.cfg})", *lines)
        places.append(
            beside(dataset, "after", lines, script, f"the statement that assigns `{name}`")
        )
    parts = ", ".join(map(str, loop.parts)) + ("," if len(loop.parts) == 1 else "")
    watched = f"{loop.loader} = conformal.watch({loop.loader}, {loop.epoch}, parts=({parts}))"
    wanted = f"the statement that assigns `{loop.loader}`"
    places.append(beside(loop.zipped, "after", (watched,), script, wanted))
    return places


def _note(own: OwnLabels) -> str:
    return (
        f"line {own.line}, `{own.label}`: these labels stay the script's own in stage I too "
        f"({own.why})"
    )
