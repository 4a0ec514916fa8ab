"""The edit that a loop object needs: three calls, the same in every host but for the names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conformal_plugin.adapters.loop import HostLoop
from conformal_plugin.adapters.patching._recipe import Insertion, Recipe

__all__ = ["loop_recipe"]


def loop_recipe(
    loop: type[HostLoop[Any]],
    *,
    host: str,
    script: str,
    losses: Sequence[str],
    preds: Sequence[str],
    added_up: str = "loss",
    tells: Sequence[str] = (),
    lacks: Sequence[str] = (),
    traps: Sequence[tuple[str, str]] = (),
    beside: Sequence[str] | None = None,
    sample: Sequence[str] | None = None,
) -> Recipe:
    """The recipe that puts ``loop`` into one script.

    Args:
        loop: the host's loop class, at the top level of its module.
        host: the codebase, as a reader knows it.
        script: the script's file name.
        losses: the script's names of the losses that the loop takes, in its order.
        preds: its names of the predictions.
        added_up: the variable whose assignment first uses these losses.
        tells: further names that this script binds, where another host's has the same file name.
        lacks: names that it does not bind.
        traps: see :class:`~conformal_plugin.adapters.patching.Recipe`.
        beside: what that assignment may use beside them, all that is no self-training; None for
            anything. A script that adds up more is another method.
        sample: what the loop's head calls the elements of an unlabelled sample, ``"_"`` where that
            does not matter; empty where a sample is the photo alone, None where it is left open.
    """
    made = (
        f"conformal = {loop.__name__}(cfg, criterion_u)",
        "trainset_u = conformal.align(trainset_u)",
    )
    watched = ("loader = conformal.watch(loader, epoch)",)
    return Recipe(
        host=host,
        script=script,
        imports=(f"from {loop.__module__} import {loop.__name__}",),
        insertions=(
            Insertion("trainset_u", "after", made),
            Insertion("loader", "after", watched),
            Insertion(
                added_up,
                "before",
                _call(losses, preds),
                reads=tuple(losses),
                may_read=None if beside is None else tuple(beside),
            ),
        ),
        needs=("cfg", "criterion_u", "epoch", *losses, *preds, *tells),
        lacks=tuple(lacks),
        traps=tuple(traps),
        sample=None if sample is None else tuple(sample),
    )


def _call(losses: Sequence[str], preds: Sequence[str]) -> tuple[str, ...]:
    if len(losses) == 1:
        return (f"{losses[0]} = conformal({losses[0]}, {preds[0]})",)
    named = ", ".join(losses)
    return f"{named} = conformal(", f"    ({named}),", f"    ({', '.join(preds)}))"
