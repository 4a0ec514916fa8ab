"""Checks of the host's scripts."""

from __future__ import annotations

from collections.abc import Iterator

from conformal_plugin.adapters.patching import find_traps
from conformal_plugin.doctor._by_hand import ByHand
from conformal_plugin.doctor._case import Case
from conformal_plugin.doctor._findings import Finding, check, error, ok, some, warning

__all__: list[str] = []


@check
def scripts_are_patched(case: Case) -> Iterator[Finding]:
    """A script without the inserted lines ignores the ``conformal:`` block."""
    by_hand = case.by_hand
    right = [
        script.name
        for script in case.scripts
        if script.patch.already or ((own := by_hand[script.name]) and not own.missing)
    ]
    for script in case.scripts:
        result = script.patch
        if result.already:
            yield ok(f"{script.name} is patched ({result.recipe.host})")
            continue
        if own := by_hand[script.name]:
            yield _of_hand_work(script.name, own)
            continue
        if result.after is None:
            problems = "; ".join(result.problems)
            text = f"{script.name} is not patched as this release does it: {problems}"
            remedy = f"see the steps that `conformal-plugin patch {case.host}` prints"
        else:
            text = f"{script.name} is not patched, so its runs ignore the conformal labels"
            remedy = (
                f"conformal-plugin patch {case.host} --script {script.name} --apply, unless it is "
                "not the script of this run"
            )
        yield warning(text, remedy) if right else error(text, remedy)


def _of_hand_work(name: str, own: ByHand) -> Finding:
    if own.missing:
        return error(
            f"{name} uses {own.used}, put in by hand, and never calls {some(own.missing)}",
            "add the call: docs/any-loop.md and docs/new-host.md show whole loops",
        )
    return ok(f"{name} uses {own.used}, put in by hand, and calls all that it needs")


@check
def traps_in_the_scripts(case: Case) -> Iterator[Finding]:
    """What is known to break runs of this host."""
    for script in case.scripts:
        source = script.path.read_bytes()
        for trap in find_traps(script.patch.recipe, source, case.cfg):
            text = f"{script.name}, line {trap.line}, `{trap.text}`"
            yield error(text, trap.advice) if trap.sure else warning(text, trap.advice)
