"""Checks of the host's YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator

from conformal_plugin._messages import shortened, shown
from conformal_plugin.adapters.loop import HOST_KEY
from conformal_plugin.doctor._case import Case
from conformal_plugin.doctor._findings import Finding, check, error, ok, warning
from conformal_plugin.errors import ConformalError

__all__: list[str] = []

_SCIENTIFIC = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


@check
def whole_numbers_of_the_config(case: Case) -> Iterator[Finding]:
    """``nclass`` and ``epochs``, which every host reads."""
    for key, least, meaning in (("nclass", 2, "the number of classes"), ("epochs", 1, "epochs")):
        case.leave_to_the_script(key)
        value = case.cfg.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            yield ok(f"{key} is {value}")
        else:
            yield error(
                f"{key} is {shown(value)}, expected a whole number from {least}",
                f"write {meaning} into the config, as in `{key}: {21 if key == 'nclass' else 80}`",
            )


@check
def data_root(case: Case) -> Iterator[Finding]:
    """The folder that all photos are read from."""
    case.leave_to_the_script("data_root")
    value = case.cfg.get("data_root")
    if not isinstance(value, str):
        yield error(f"data_root is {shown(value)}", "write the folder that the id lists start from")
    elif not case.inside(value).is_dir():
        yield error(
            f"data_root {value} is not a folder (seen from {case.host})",
            "correct the path; a relative one starts from the folder that the script is started in",
        )
    else:
        yield ok(f"data_root is {value}")


@check
def numbers_that_yaml_takes_for_text(case: Case) -> Iterator[Finding]:
    """``lr: 1e-3`` is text in YAML 1.1, and multiplying with it fails."""
    for name, value in case.cfg.items():
        key = shortened(name)
        if isinstance(value, str) and _SCIENTIFIC.fullmatch(value):
            yield error(
                f"{key}: {shortened(value)} is text to YAML, not a number",
                f"write {key}: {float(value)!r}, or with a point and a sign, as in 1.0e-3",
            )


@check
def options_for_conformal_labels(case: Case) -> Iterator[Finding]:
    """The block under ``conformal:``, read as the host's script will read it."""
    case.leave_to_the_script(HOST_KEY)
    try:
        options = case.read_options()
    except ConformalError as problem:
        yield error(str(problem), "`conformal-plugin patch --print-config` shows every option")
        return
    if options is None:
        yield error(
            f"the config has no {HOST_KEY}: key, so this run is the host's own",
            "add the block that `conformal-plugin patch --print-config` prints",
        )
    else:
        yield ok(
            f"the {HOST_KEY}: block is valid: mode {options.mode}, weight {options.weight:g}, "
            f"labels from {options.pseudo_labels}"
        )


@check
def ignore_index_is_no_class(case: Case) -> Iterator[Finding]:
    """Otherwise that class would be taken for dropped pixels."""
    ignored = case.options.ignore_index
    if ignored < case.nclass:
        yield error(
            f"ignore_index is {ignored}, which is one of the {case.nclass} classes",
            "write the value that dropped pixels have in the pseudo-labels, 255 by default",
        )


@check
def stages(case: Case) -> Iterator[Finding]:
    """Which epochs learn from the labels."""
    options = case.options
    first, total = options.stage1_epochs, options.epochs
    if first == 0:
        yield warning(
            "stage1_epochs is 0: no epoch learns from the conformal labels",
            "take it out for three quarters of the epochs, as in the paper",
        )
    elif first == total:
        yield warning(
            f"stage1_epochs is {first}, all of them: the host's self-training never takes over",
            "choose fewer where the paper's second stage is wanted, 60 of 80 for instance",
        )
    else:
        yield ok(f"stage I is epochs 0 to {first - 1}, stage II epochs {first} to {total - 1}")
    if options.weight == 0 and first > 0:
        yield warning("weight is 0: the conformal term counts for nothing", "write 1.0")
