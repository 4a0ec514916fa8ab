"""``conformal-plugin patch`` on the stand-ins, and on forks of them that differ."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conformal_plugin.adapters.loop import HostConfig
from conformal_plugin.cli._arguments import build_parser

STANDIN = Path(__file__).parents[1] / "adapters" / "standin"
SCRIPTS = {
    "unimatch": ("fixmatch.py", "unimatch.py"),
    "unimatch_v2": ("fixmatch.py", "unimatch_v2.py"),
    "corrmatch": ("corrmatch.py",),
    "allspark": ("train_baseline_semi.py", "train_allspark.py"),
}


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file's content and mode."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mode,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """A copy of the stand-in for UniMatch."""
    return copied("unimatch", tmp_path)


def copied(host: str, tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(STANDIN / host, tmp_path / host, ignore=ignored)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("host", SCRIPTS)
def test_shown_applied_and_taken_back(host, tmp_path, run) -> None:
    folder = copied(host, tmp_path)
    before = tree(folder)
    shown = run("patch", folder)
    assert shown.code == 0
    assert "nothing is written yet" in shown.err
    assert tree(folder) == before
    for script in SCRIPTS[host]:
        assert f"--- a/{script}\n+++ b/{script}\n@@ " in shown.out
    changed = [
        line for line in shown.out.splitlines() if line[:1] in "+-" and line[1:2] not in "+-"
    ]
    assert changed
    assert len(changed) <= 12 * len(SCRIPTS[host])
    assert all(line.startswith("+") and line.endswith("  # conformal-plugin") for line in changed)

    applied = run("patch", folder, "--apply")
    assert applied.code == 0
    after = tree(folder)
    assert after.keys() - before.keys() == {f"{name}.before-conformal" for name in SCRIPTS[host]}
    assert "conformal-plugin doctor" in applied.err
    assert "`conformal:`" in applied.err

    again = run("patch", folder, "--apply")
    assert again.code == 0
    assert tree(folder) == after
    assert all(f"{name}: patched already" in again.out for name in SCRIPTS[host])
    assert run("patch", folder).out == ""

    undone = run("patch", folder, "--undo")
    assert undone.code == 0
    assert tree(folder) == before
    assert run("patch", folder, "--undo").out == f"no script in {folder} is patched\n"
    assert tree(folder) == before


def test_one_script_alone(fork, run) -> None:
    assert run("patch", fork, "--script", "unimatch.py", "--apply").code == 0
    assert "conformal-plugin" not in (fork / "fixmatch.py").read_text()
    assert run("patch", fork, "--script", "fixmatch.py", "--undo").code == 0
    assert "conformal-plugin" in (fork / "unimatch.py").read_text()


def test_a_renamed_script_is_recognised_by_what_it_binds(fork, run) -> None:
    (fork / "fixmatch.py").rename(fork / "train_ours.py")
    (fork / "unimatch.py").unlink()
    done = run("patch", fork, "--apply")
    assert done.out == "train_ours.py: 5 lines added (UniMatch)\n"
    assert run("patch", fork, "--undo").out == "train_ours.py: 5 lines taken out\n"


def test_scripts_of_several_hosts_in_one_folder(fork, tmp_path, run) -> None:
    for host in ("corrmatch", "allspark"):
        for name in SCRIPTS[host]:
            shutil.copy(STANDIN / host / name, fork / name)
    shutil.copy(STANDIN / "unimatch_v2" / "unimatch_v2.py", fork)
    before = tree(fork)
    content = json.loads(run("patch", fork, "--apply", "--json").out)
    assert {entry["script"]: entry["host"] for entry in content["scripts"]} == {
        "fixmatch.py": "UniMatch",
        "unimatch.py": "UniMatch",
        "corrmatch.py": "CorrMatch",
        "train_baseline_semi.py": "AllSpark",
        "train_allspark.py": "AllSpark",
        "unimatch_v2.py": "UniMatch-V2",
    }
    assert run("patch", fork, "--undo").code == 0
    assert tree(fork) == before


def test_where_one_script_differs_none_is_changed(fork, run) -> None:
    edit(fork / "unimatch.py", "        loader = zip(", "        batches = zip(")
    before = tree(fork)
    for action in ([], ["--apply"]):
        done = run("patch", fork, *action)
        assert done.code == 2
        assert tree(fork) == before
        assert "unimatch.py was not changed" in done.out
        assert "  - `loader` is assigned nowhere in main()\n" in done.out
        assert "      loader = conformal.watch(loader, epoch)  # conformal-plugin\n" in done.out
        number = (fork / "unimatch.py").read_text().splitlines().index("from torch import nn") + 1
        assert f"after the last import at top level, line {number}, add" in done.out
        assert "unimatch.py cannot be patched by this command, so no script was changed" in done.err
        assert "name them with --script" in done.err
    assert run("patch", fork, "--script", "fixmatch.py", "--apply").code == 0
    content = json.loads(run("patch", fork, "--json").out)
    assert content["refused"][0]["script"] == "unimatch.py"
    assert content["refused"][0]["problems"] == ["`loader` is assigned nowhere in main()"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("    loss = (", "    loss = 0\n            loss = (", "`loss` is assigned 2 times"),
        ("pred_u_s", "out_strong", "is a loader whose data set is made with the mode 'train_u'"),
        ("from torch import nn\n", "from torch import nn\nfrom conformal_plugin import TwoStage\n",
         "it imports conformal_plugin by hand (line "),
        ("def main():", "def main(:", "it is not valid Python on line "),
        ("    criterion_u = nn", "    conformal = 1\n    criterion_u = nn",
         "`conformal` is in use already, on line "),
    ],
)  # fmt: skip
def test_mangled_scripts_are_refused(fork, run, old, new, reason) -> None:
    edit(fork / "fixmatch.py", old, new)
    before = tree(fork)
    done = run("patch", fork, "--apply")
    assert done.code == 2
    assert reason in done.out
    assert tree(fork) == before


@pytest.mark.skipif(os.name == "nt", reason="files have no such modes on Windows")
def test_crlf_tabs_and_mode_survive(fork, run) -> None:
    for name in SCRIPTS["unimatch"]:
        path = fork / name
        text = path.read_text().replace("    ", "\t").replace("\n", "\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        path.chmod(0o755)
    before = tree(fork)
    assert run("patch", fork, "--apply").code == 0
    source = (fork / "unimatch.py").read_bytes()
    assert source.count(b"\r\n") == source.count(b"\n")
    assert b"\r\n\t\tloader = conformal.watch(loader, epoch)  # conformal-plugin\r\n" in source
    assert (fork / "unimatch.py").stat().st_mode & 0o777 == 0o755
    assert run("patch", fork, "--undo").code == 0
    assert tree(fork) == before


def test_undo_keeps_later_edits_and_the_backup_then(fork, run) -> None:
    assert run("patch", fork, "--apply").code == 0
    edit(fork / "unimatch.py", "momentum=0.9", "momentum=0.8")
    done = run("patch", fork, "--undo")
    assert done.code == 0
    assert "unimatch.py.before-conformal stays" in done.err
    assert "momentum=0.8" in (fork / "unimatch.py").read_text()
    assert "conformal" not in (fork / "unimatch.py").read_text()
    assert (fork / "unimatch.py.before-conformal").exists()
    assert not (fork / "fixmatch.py.before-conformal").exists()


def test_undo_refuses_what_it_would_break(fork, run) -> None:
    assert run("patch", fork, "--apply").code == 0
    edit(
        fork / "unimatch.py",
        "    conformal = UniMatchLoop(cfg, criterion_u)  # conformal-plugin\n",
        "    conformal = UniMatchLoop(cfg, criterion_u)\n",
    )
    before = tree(fork)
    done = run("patch", fork, "--undo")
    assert done.code == 2
    assert "`UniMatchLoop` would be used on line" in done.err
    assert "unimatch.py.before-conformal" in done.err
    assert tree(fork) == before
    assert "the inserted lines were edited" in run("patch", fork).out


def test_a_link_out_of_the_folder_is_refused(fork, tmp_path, run) -> None:
    shared = tmp_path / "shared.py"
    (fork / "unimatch.py").rename(shared)
    (fork / "unimatch.py").symlink_to(shared)
    before = shared.read_bytes()
    done = run("patch", fork, "--apply")
    assert done.code == 2
    assert "leads out of" in done.err
    assert shared.read_bytes() == before


def test_traps_are_told(tmp_path, run) -> None:
    done = run("patch", copied("corrmatch", tmp_path))
    assert "note: corrmatch.py, `" in done.err
    assert "torchrun" in done.err
    assert run("patch", tmp_path / "corrmatch", "--quiet").err == ""


def test_print_config_is_a_valid_block(tmp_path, run, monkeypatch) -> None:
    done = run("patch", "--print-config")
    assert done.code == 0
    block = yaml.safe_load(done.out)
    monkeypatch.chdir(tmp_path)
    (tmp_path / block["conformal"]["pseudo_labels"]).mkdir()
    options = HostConfig.read({"epochs": 80, **block})
    assert options is not None
    assert options.stage1_epochs == 60
    assert set(block["conformal"]) >= {"pseudo_labels", "stage1_epochs", "mode", "weight"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say which folder"),
        (["nowhere"], "is not a folder"),
        (["."], "no script that is known"),
        ([".", "--script", "gone.py"], "there is no script gone.py"),
        ([".", "--apply", "--undo"], "not allowed with argument"),
    ],
)
def test_bad_usage(tmp_path, monkeypatch, run, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("patch", *arguments)
    assert done.code == 2
    assert message in done.err


def test_scripts_in_sub_folders_are_patched_and_taken_back(fork, run) -> None:
    before = tree(fork.parent)
    done = run("patch", fork.parent, "--apply")
    assert done.code == 0
    assert f"{fork.name}/fixmatch.py: 5 lines added (UniMatch)" in done.out
    done = run("patch", fork.parent, "--undo")
    assert f"{fork.name}/unimatch.py: 7 lines taken out" in done.out
    assert tree(fork.parent) == before


def test_undo_loads_nothing_heavy(fork) -> None:
    program = (
        "import sys; from conformal_plugin.cli import main; code = main(sys.argv[1:]); "
        "print([m for m in ('torch', 'PIL') if m in sys.modules]); sys.exit(code)"
    )
    for arguments in ([str(fork), "--undo"], ["--print-config"]):
        done = subprocess.run(
            [sys.executable, "-c", program, "patch", *arguments],
            capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
        assert done.stdout.splitlines()[-1] == "[]"


KILLED = """
import os, signal, sys
from conformal_plugin.cli import main

calls, replace = [], os.replace

def counted(*arguments):
    calls.append(arguments)
    if len(calls) > int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*arguments)

os.replace = counted
main(["patch", sys.argv[1], "--apply", "--quiet"])
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize("calls", [1, 3])
def test_killed_while_writing_nothing_is_lost(fork, run, calls) -> None:
    """Two backups and two scripts: killed at the second backup, and between the two scripts."""
    before = tree(fork)
    program = [sys.executable, "-c", KILLED, str(fork), str(calls)]
    assert subprocess.run(program, check=False, timeout=300).returncode == -signal.SIGKILL
    left = tree(fork)
    assert any(name.endswith(".tmp") for name in left)  # half a file is there
    assert sum(left[name] != content for name, content in before.items()) == calls // 3
    assert run("patch", fork, "--apply").code == 0
    assert run("patch", fork, "--undo").code == 0
    assert tree(fork) == before


@pytest.mark.parametrize("command", ["patch", "doctor"])
def test_help_has_examples_that_parse_and_loads_nothing_heavy(command, run) -> None:
    text = run(command, "--help").out
    assert "exit codes:" in text
    lines = text.replace("\\\n", " ").splitlines()
    examples = [line.split()[1:] for line in lines if line.startswith("  conformal-plugin ")]
    assert len(examples) >= 2
    for example in examples:
        assert build_parser().parse_args(example).command == command
    program = (
        "import sys; from conformal_plugin.cli import main; main(sys.argv[1:]); "
        "print([m for m in ('torch', 'numpy', 'PIL', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, command, "--help"],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
