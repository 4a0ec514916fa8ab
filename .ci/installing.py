"""Install with pip and say one line of it; what pip says is shown where it fails.

Standard library only.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

SHOWN = 30  # lines of pip's at a failure; the log has all of them


def install(python: str, arguments: Sequence[str], said: str, log: Path) -> None:
    """Run ``python -m pip install ARGUMENTS``, with ``said`` and the seconds as its one line.

    Raises:
        SystemExit: pip failed; the end of what it said, and where the rest is, are printed.
    """
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off"]
    began = time.monotonic()
    moving = sys.stderr.isatty()
    print(said, end="" if moving else "\n", file=sys.stderr, flush=True)
    with log.open("wb") as file:
        pip = subprocess.Popen([*command, *arguments], stdout=file, stderr=subprocess.STDOUT)
        try:
            while pip.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    pip.wait(1 if moving else None)
                if moving:
                    seconds = time.monotonic() - began
                    print(f"\r{said} {seconds:.0f} s", end="", file=sys.stderr, flush=True)
        finally:
            pip.kill()  # where this was interrupted
            pip.wait()
    if moving:
        print(file=sys.stderr)
    if pip.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        told = [*lines[-SHOWN:], "", f"pip failed (exit code {pip.returncode}); its last words are"]
        sys.exit("\n".join(told) + f" above, all of them in {log}")
