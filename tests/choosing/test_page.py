"""What docs/choosing.md shows runs, and prints what the page says."""

from __future__ import annotations

import html
import re
import shlex

import numpy as np

from conformal_plugin.cli import main
from conformal_plugin.files import write_label


def blocks(root, language):
    page = (root / "docs" / "choosing.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_python_snippet(root, capsys):
    code = "".join(blocks(root, "python"))
    exec(compile(code, "choosing.md", "exec"), {"__name__": "snippet"})
    printed = capsys.readouterr().out.splitlines()
    assert set(re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)) <= set(printed)
    assert printed[0].startswith("Proposed: class-conditional thresholds, rule most-probable")


def test_the_commands(root, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    (tmp_path / "probs").mkdir()
    for i in range(8):
        truth = rng.integers(0, 3, (9, 12)).astype(np.uint8)
        right = truth == np.arange(3)[:, None, None]
        scores = (0.6 * right + 0.4 * rng.random((3, 9, 12))).astype(np.float16)
        scores[0] = 0.6 + 0.4 * scores[0]
        np.savez(tmp_path / "probs" / f"{i}.npz", probs=scores)
        write_label(tmp_path / "labels" / f"{i}.png", truth)
    (tmp_path / "labelled.txt").write_text("".join(f"{i}\n" for i in range(8)))
    monkeypatch.chdir(tmp_path)
    calibrating, choosing, wanting, thinning, measuring, reporting = blocks(root, "bash")
    assert main(shlex.split(calibrating)[1:]) == 0
    assert "Proposed: " in capsys.readouterr().out
    for command in (wanting, choosing):
        assert main(shlex.split(command.replace("\\\n", " "))[1:]) == 0
        assert "<- proposed" in capsys.readouterr().out
    (tmp_path / "unlabelled.txt").write_text("0\n1\n")
    assert main(shlex.split(thinning.replace("\\\n", " "))[1:]) == 0
    assert "2 labels written to pseudo_labels" in capsys.readouterr().out
    assert main(shlex.split(reporting.replace("\\\n", " "))[1:]) == 0
    page = html.unescape((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert "recall: objects' pixels labelled right" in page
    assert (root / shlex.split(measuring)[3]).exists()
