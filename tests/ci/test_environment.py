"""What the README's first command says as it makes its environment, with a made-up pip."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WARNS = """
import sys
for _ in range(40):
    print("WARNING: Location 'somewhere' is ignored", file=sys.stderr)
print("Collecting torch")
"""
FAILS = WARNS + 'print("ERROR: No matching distribution found for torch")\nsys.exit(3)\n'
HANGS = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"
INSTALLS = """
import signal, sys
from pathlib import Path
from installing import install
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
install(sys.executable, [], "installing it", Path("log.txt"))
"""


def checkout(folder: Path, root: Path) -> Path:
    """The scripts alone, and what they read."""
    shutil.copytree(root / ".ci", folder / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "setup.cfg", folder)
    return folder


def fake_pip(folder: Path, code: str) -> dict[str, str]:
    """An environment in which this is what ``python -m pip`` runs, in whatever Python."""
    (folder / "pip").mkdir(parents=True)
    (folder / "pip" / "__init__.py").touch()
    (folder / "pip" / "__main__.py").write_text(code, encoding="utf-8")
    return os.environ | {"PYTHONPATH": str(folder)}


def make(checkout: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """As the README's commands do, started with the Python that environments are made of."""
    names = ("python.exe",) if os.name == "nt" else ("bin", f"python3.{sys.version_info.minor}")
    command = [str(Path(sys.base_prefix, *names)), ".ci/environment.py", "test"]
    return subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def test_it_says_two_lines_and_the_second_time_none(root: Path, tmp_path: Path) -> None:
    there = checkout(tmp_path / "clone", root)
    environment = fake_pip(tmp_path / "fake", WARNS)
    done = make(there, environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"making the virtual environment {there / '.venv'} (once)",
        "installing conformal-plugin[test] into it (about a minute)",
    ]
    assert "WARNING" in (there / ".venv" / "conformal-plugin-pip.log").read_text(encoding="utf-8")
    again = make(there, environment)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_pip_that_fails_is_heard(root: Path, tmp_path: Path) -> None:
    there = checkout(tmp_path / "clone", root)
    environment = fake_pip(tmp_path / "fake", FAILS)
    done = make(there, environment)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    log = there / ".venv" / "conformal-plugin-pip.log"
    assert lines[-1] == f"pip failed (exit code 3); its last words are above, all of them in {log}"
    assert "ERROR: No matching distribution found for torch" in lines
    assert 20 < len(lines) < 40
    assert len(log.read_text(encoding="utf-8").splitlines()) == 42
    assert make(there, environment).returncode == 1  # nothing says that it had been done


def all_of(terminal: int) -> str:
    """What lies in a terminal that was closed at its other end; one read may give a part of it."""
    pieces: list[bytes] = []
    with contextlib.suppress(OSError):  # Linux's end; macOS has an empty piece
        while piece := os.read(terminal, 10_000):
            pieces.append(piece)
    return b"".join(pieces).decode()


@pytest.mark.skipif(os.name == "nt", reason="there are no terminals of this kind on Windows")
def test_on_a_terminal_the_seconds_go_by_on_one_line(root: Path, tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = fake_pip(tmp_path / "fake", WARNS + "import time\ntime.sleep(2.5)\n")
    environment["PYTHONPATH"] += os.pathsep + str(root / ".ci")
    done = subprocess.run(
        [sys.executable, "-c", INSTALLS], cwd=tmp_path, env=environment, stderr=theirs, check=False
    )
    os.close(theirs)
    said = all_of(ours)
    os.close(ours)
    assert done.returncode == 0, said
    assert re.fullmatch(r"installing it(\rinstalling it \d s)+\r\n", said)


@pytest.mark.skipif(os.name == "nt", reason="Windows interrupts in another way")
def test_a_pip_that_is_interrupted_does_not_go_on(root: Path, tmp_path: Path) -> None:
    environment = fake_pip(tmp_path / "fake", HANGS)
    environment["PYTHONPATH"] += os.pathsep + str(root / ".ci")
    installing = subprocess.Popen(
        [sys.executable, "-c", INSTALLS], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    log = tmp_path / "log.txt"
    try:
        while not (log.exists() and log.read_text(encoding="utf-8")):
            assert installing.poll() is None
            time.sleep(0.05)
        installing.send_signal(signal.SIGINT)
        assert installing.wait(timeout=60) != 0
    finally:
        installing.kill()
        installing.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text(encoding="utf-8")), 0)
