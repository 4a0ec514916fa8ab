"""The GPU's benchmark, tried on the CPU, and what it does with sections that go wrong."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "benchmarks" / "gpu"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell script")


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(FOLDER / "run.sh"), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def test_all_that_needs_no_gpu_runs_without_one(tmp_path: Path) -> None:
    done = run("--small", "--device", "cpu", "--json", "found.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    sections = {section["name"]: section for section in found["sections"]}
    assert list(sections) == [
        "the machine", "equal to the CPU", "no wait in a step", "asked for", "speed",
        "mixed precision", "ranks", "share of a step", "annotators", "torch.compile",
    ]  # fmt: skip
    not_here = {"no wait in a step"}
    if importlib.util.find_spec("transformers") is None:
        not_here.add("annotators")
    assert {name: section["status"] for name, section in sections.items()} == {
        name: "not run" if name in not_here else "ok" for name in sections
    }
    rows = [row for section in found["sections"] for row in section["rows"]]
    assert len(done.stdout.splitlines()) == 2 + len(rows)
    equal = sections["equal to the CPU"]["rows"]
    assert {row["what"] for row in equal} >= {
        f"{dtype}, 21 classes" for dtype in ("float32", "float16", "bfloat16")
    }
    assert {row["result"] for row in equal} == {"ok"}
    readings = {row["what"]: float(row["note"].split()[0]) for row in sections["asked for"]["rows"]}
    # One reading finds the best class, another what is no score; the rest are labels.
    assert readings["filter, float32, 150 classes"] < 2.2
    for row in sections["speed"]["rows"]:
        assert row["milliseconds"] > 0
        assert "goal" not in row["note"]
    for section, what in (
        ("no wait in a step", "a wait is noticed"),
        ("ranks", "NCCL"),
        ("torch.compile", "inductor"),
    ):
        row = next(row for row in sections[section]["rows"] if row["what"] == what)
        assert row["result"] == "not run"
        assert row["note"].startswith("no CUDA device")


def test_a_device_that_is_not_there_ends_it_at_once(tmp_path: Path) -> None:
    done = run("--small", "--device", "cuda:77", cwd=tmp_path)
    assert done.returncode == 1
    found = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    assert [section["name"] for section in found["sections"]] == ["the machine"]
    assert "FAILED" in done.stdout


SECTIONS = {
    "fine": "report.check('one', True); report.measured('two', 1.5)",
    "wrong": "report.check('one', False, 'of two'); report.check('three', True)",
    "raises": "report.check('one', True); raise ValueError('no')",
    "dies": "import os; report.check('one', True); os._exit(3)",
    "hangs": "import time; report.check('one', True); time.sleep(600)",
}
OUTCOMES = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[2], '.']

if __name__ == '__main__':
    from dataclasses import asdict
    from sections import Section, carried_out
    from setting import Setting

    done = [
        carried_out(Section(name, name, 60), Setting('cpu', True), left)
        for name, left in [('fine', 60), ('wrong', 60), ('raises', 60), ('dies', 60), ('late', 0)]
    ]
    done.append(carried_out(Section('hangs', 'hangs', 4), Setting('cpu', True), 60))
    print(json.dumps([{**asdict(each), 'status': each.status} for each in done]))
"""


def test_what_goes_wrong_in_a_section_stays_there(tmp_path: Path) -> None:
    for name, body in SECTIONS.items():
        (tmp_path / f"{name}.py").write_text(f"def run(setting, report):\n    {body}\n")
    (tmp_path / "outcomes.py").write_text(OUTCOMES)
    done = subprocess.run(
        [sys.executable, "outcomes.py", str(FOLDER), str(ROOT)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes = {each["name"]: each for each in json.loads(done.stdout)}
    statuses = {name: each["status"] for name, each in outcomes.items()}
    assert statuses.pop("fine") == "ok"
    assert set(statuses.values()) == {"failed"}
    last = {name: each["rows"][-1]["note"] for name, each in outcomes.items()}
    assert last["raises"].startswith("ValueError: no (line 2 of")
    assert last["dies"] == "the process died"
    assert last["hangs"] == "stopped after 4 s"
    assert last["late"] == "no time was left for it"
    assert all(len(each["rows"]) == 2 for name, each in outcomes.items() if name != "late")
