"""The command ``conformal-plugin``: calibrate, filter and evaluate over folders."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from conformal_plugin._messages import shortened
from conformal_plugin.cli._arguments import build_parser
from conformal_plugin.cli._readers import readers_in_use
from conformal_plugin.cli._shown_warnings import shown_in_style
from conformal_plugin.errors import ConformalError

__all__ = ["main"]

_BAD_INPUT = 2
_INTERRUPTED = 130
_LONGEST_ERROR = 4000
"""Characters; the longest messages are of ten images that cannot be used."""
_OUTPUT_CLOSED = 141  # as a shell reports a process that SIGPIPE has ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 (bad usage or input) or 130 (Ctrl-C).

    Args:
        argv: the arguments; by default those of the process.
    """
    _prepare_streams()
    try:
        arguments = build_parser().parse_args(argv)
    except SystemExit as leaving:  # argparse has printed the help or what is wrong
        return int(leaving.code or 0)
    with shown_in_style():
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    # A command's module imports torch; the help must not wait for that.
    command = importlib.import_module(f"conformal_plugin.cli._{arguments.command}_command")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A pipe or file on Windows may lack letters of a class's name: no reason to end there.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with readers_in_use(arguments):
            command.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads the output has seen enough, as `head` does
        _forget_output()
        return _OUTPUT_CLOSED
    except (ConformalError, OSError) as error:
        _print_error(arguments.command, str(error))
        return _BAD_INPUT
    except MemoryError:
        _print_error(
            arguments.command, "there is not enough memory; use smaller images, or fewer at once"
        )
        return _BAD_INPUT
    except KeyboardInterrupt:
        _print_error(arguments.command, "interrupted")
        return _INTERRUPTED
    return 0


def _prepare_streams() -> None:
    """Let every character be printed on every stream, and closed ones swallow what is printed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this process
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """Keep Python from writing at the end what could not be written before."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(command: str, text: str) -> None:
    # Before the error, since the output may be what cannot be written.
    try:
        sys.stdout.flush()
    except OSError:
        _forget_output()
    print(f"conformal-plugin {command}: {shortened(text, _LONGEST_ERROR)}", file=sys.stderr)
