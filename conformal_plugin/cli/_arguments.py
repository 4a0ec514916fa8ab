"""What can be typed: the parser of every subcommand. Imports nothing heavy, so help is instant."""

from __future__ import annotations

import argparse

from conformal_plugin import __version__
from conformal_plugin.cli import (
    _annotate_arguments as annotate_arguments,
    _calibrate_arguments as calibrate_arguments,
    _card_arguments as card_arguments,
    _choose_arguments as choose_arguments,
    _combine_arguments as combine_arguments,
    _doctor_arguments as doctor_arguments,
    _evaluate_arguments as evaluate_arguments,
    _export_arguments as export_arguments,
    _filter_arguments as filter_arguments,
    _import_arguments as import_arguments,
    _patch_arguments as patch_arguments,
    _plan_arguments as plan_arguments,
    _rehearse_arguments as rehearse_arguments,
    _report_arguments as report_arguments,
    _review_arguments as review_arguments,
)

__all__ = ["build_parser"]

_COMMANDS = {
    "plan": plan_arguments,
    "annotate": annotate_arguments,
    "combine": combine_arguments,
    "calibrate": calibrate_arguments,
    "filter": filter_arguments,
    "evaluate": evaluate_arguments,
    "choose": choose_arguments,
    "rehearse": rehearse_arguments,
    "report": report_arguments,
    "review": review_arguments,
    "export": export_arguments,
    "import": import_arguments,
    "card": card_arguments,
    "patch": patch_arguments,
    "doctor": doctor_arguments,
}

_EXIT_CODES = """\
exit codes:
  0    done
  2    bad usage or input; the message says what was expected, what came and what to do
  130  interrupted with Ctrl-C; run again, calibrate, filter and review go on where they stopped
  141  whoever read the output stopped reading, as `head` does
"""

_DESCRIPTION = """\
Calibrated pseudo-labels from an annotator's class-score maps: calibrate a threshold on a few
labelled images, filter the unlabelled ones with it, evaluate what was kept; plug the labels into a
host's training scripts, and check the run before it starts.
"""

_EXAMPLES = """\
examples:
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt --alpha 0.2 \\
      -o calibration.json
  conformal-plugin filter --maps probs --ids unlabelled.txt --calibration calibration.json \\
      --out pseudo_labels
  conformal-plugin evaluate --maps probs --labels labels --ids held_out.txt \\
      --calibration calibration.json
  conformal-plugin patch UniMatch --apply
  conformal-plugin doctor UniMatch --config UniMatch/configs/pascal.yaml
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``conformal-plugin``; ``command`` in its result names the subcommand."""
    parser = argparse.ArgumentParser(
        prog="conformal-plugin",
        description=_DESCRIPTION,
        epilog=f"{_EXAMPLES}\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"conformal-plugin {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=f"{module.EXAMPLES}\n{_EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_options(command)
    return parser
