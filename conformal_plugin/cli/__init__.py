"""The command ``conformal-plugin``: calibrate, filter and evaluate over folders."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence

from conformal_plugin.cli._arguments import build_parser
from conformal_plugin.errors import ConformalError

__all__ = ["main"]

_BAD_INPUT = 2
_INTERRUPTED = 130
_OUTPUT_CLOSED = 141  # as a shell reports a process that SIGPIPE has ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 (bad usage or input) or 130 (Ctrl-C).

    Args:
        argv: the arguments; by default those of the process.
    """
    try:
        arguments = build_parser().parse_args(argv)
    except SystemExit as leaving:  # argparse has printed the help or what is wrong
        return int(leaving.code or 0)
    # A command's module imports torch; the help must not wait for that.
    command = importlib.import_module(f"conformal_plugin.cli._{arguments.command}_command")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A pipe or file on Windows may lack letters of a class's name: no reason to end there.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        command.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads the output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _OUTPUT_CLOSED
    except (ConformalError, OSError) as error:
        print(f"conformal-plugin {arguments.command}: {error}", file=sys.stderr)
        return _BAD_INPUT
    except KeyboardInterrupt:
        print(f"conformal-plugin {arguments.command}: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return 0
