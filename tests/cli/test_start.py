"""Help and version come without importing anything heavy; usage errors have their exit code."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

from conformal_plugin import __version__

HEAVY = ("torch", "numpy", "scipy", "PIL", "tqdm", "safetensors")
COMMANDS = (
    "plan", "annotate", "combine", "calibrate", "filter", "evaluate", "choose", "report", "patch",
    "rehearse", "doctor",
)  # fmt: skip


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["filter", "--help"]])
def test_nothing_heavy_is_imported(arguments):
    program = (
        "import sys; from conformal_plugin.cli import main; code = main(sys.argv[1:]); "
        f"print('heavy:', [m for m in {HEAVY!r} if m in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_version(run):
    assert run("--version").out == f"conformal-plugin {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_states_exit_codes_and_examples(run, command):
    done = run(command, "--help")
    assert done.code == 0
    for text in ("exit codes:", "130", "examples:", f"conformal-plugin {command} "):
        assert text in done.out


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["calibrate"], ["filter", "--qhat", "x"]])
def test_bad_usage_is_two(run, arguments):
    done = run(*arguments)
    assert done.code == 2
    assert "usage: conformal-plugin" in done.err


def test_examples_in_help_parse(run):
    from conformal_plugin.cli._arguments import build_parser

    for command in COMMANDS:
        text = run(command, "--help").out.replace("\\\n", " ")
        examples = [
            line.split()[1:] for line in text.splitlines() if line.startswith("  conformal-plugin ")
        ]
        assert examples
        for example in examples:
            typed = shlex.split(" ".join(example))
            assert build_parser().parse_args(typed).command == command


def test_a_reader_that_has_seen_enough_is_no_error(data, calibrated):
    program = "import sys; from conformal_plugin.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["evaluate", "--maps", data.maps, "--labels", data.labels]
    command = [sys.executable, "-c", program, *arguments, "--calibration", calibrated]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before anything was printed
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_letters_that_the_output_lacks_are_no_error(data):
    """As where the output goes to a file on Windows, in a code page of few letters."""
    program = "import sys; from conformal_plugin.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "choose", "--maps", data.maps]
    done = subprocess.run(
        [*command, "--labels", data.labels, "--alpha", "0.2", "--folds", "4"],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert r" \xb1 " in done.stdout
