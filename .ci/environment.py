"""Run a script of this repository in a virtual environment that is made when it is missing.

Standard library only. A virtual environment that is active already is used as it is; otherwise
`.venv` in the repository's root is made once and used from then on.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

from installing import install

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
# An extra that environments made for others hold as well.
HELD_BY = {"docs": ("test", "dev"), "test": ("dev",)}


def python_with(extra: str) -> str:
    """The interpreter of an environment that holds this package with `extra`."""
    if sys.version_info < (3, 10):  # noqa: UP036  # this file runs before pip can check
        sys.exit(f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}")
    active = sys.prefix != sys.base_prefix
    folder = Path(sys.prefix) if active else ROOT / ".venv"
    python = sys.executable if active else str(interpreter(folder))
    recipe = (ROOT / "setup.cfg").read_bytes() + CONSTRAINTS.read_bytes() + str(ROOT).encode()
    of_recipe = hashlib.sha256(recipe).hexdigest()[:16]
    stamp = folder / f".conformal-plugin-{extra}-{of_recipe}"
    larger = [folder / f".conformal-plugin-{one}-{of_recipe}" for one in HELD_BY.get(extra, ())]
    if any(one.exists() for one in (stamp, *larger)):
        return python
    if not active and not Path(python).exists():
        print(f"making the virtual environment {folder} (once)", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=folder.exists())
    options = []
    if not sys.dont_write_bytecode:
        # Python compiles and keeps what is imported; pip, all of the thousands of files.
        options.append("--no-compile")
    if not (active and _has_torch(python)):  # or the user's own PyTorch is kept
        options += ["--constraint", str(CONSTRAINTS)]
    install(
        python,
        [*options, "--editable", f"{ROOT}[{extra}]"],
        f"installing conformal-plugin[{extra}] into it (about a minute)",
        folder / "conformal-plugin-pip.log",
    )
    stamp.touch()
    return python


def interpreter(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _has_torch(python: str) -> bool:
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def run(extra: str, arguments: list[str], environment: dict[str, str] | None = None) -> int:
    """Run `python ARGUMENTS` there, in this process' folder; returns its exit code."""
    command = [python_with(extra), *arguments]
    try:
        return subprocess.run(
            command, env={**os.environ, **(environment or {})}, check=False
        ).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    python_with(sys.argv[1])
