"""What docs/choosing.md shows runs, and prints what the page says."""

from __future__ import annotations

import html
import re
import shlex
import sys

import numpy as np
from PIL import Image

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
    (tmp_path / "photos").mkdir()
    for i in range(10):
        truth = rng.integers(0, 3, (9, 12)).astype(np.uint8)
        right = truth == np.arange(3)[:, None, None]
        scores = (0.6 * right + 0.4 * rng.random((3, 9, 12))).astype(np.float16)
        scores[0] = 0.6 + 0.4 * scores[0]
        np.savez(tmp_path / "probs" / f"{i}.npz", probs=scores)
        write_label(tmp_path / "labels" / f"{i}.png", truth)
        shown = np.stack([truth * 80 + rng.integers(0, 60, truth.shape)] * 3, axis=-1)
        Image.fromarray(shown.astype(np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    (tmp_path / "labelled.txt").write_text("".join(f"{i}\n" for i in range(8)))
    monkeypatch.chdir(tmp_path)
    calibrating, choosing, wanting, rehearsing, thinning, measuring, reporting = blocks(
        root, "bash"
    )
    assert main(shlex.split(calibrating)[1:]) == 0
    assert "Proposed: " in capsys.readouterr().out
    for command in (wanting, choosing):
        assert main(shlex.split(command.replace("\\\n", " "))[1:]) == 0
        assert "<- proposed" in capsys.readouterr().out
    (tmp_path / "unlabelled.txt").write_text("8\n9\n")
    assert main(shlex.split(thinning.replace("\\\n", " "))[1:]) == 0
    assert "2 labels written to pseudo_labels" in capsys.readouterr().out
    (tmp_path / "mymodel.py").write_text(
        "def encode(photo):\n    return photo.transpose(2, 0, 1) / 9.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = ("--encoder", "mymodel:encode")  # as the page says, where the extra is not there
    assert main([*shlex.split(rehearsing.replace("\\\n", " "))[1:], *own]) == 0
    sys.modules.pop("mymodel")
    assert "8 labelled photos in 5 folds, dealt 3 times, 2 unlabelled" in capsys.readouterr().out
    assert main(shlex.split(reporting.replace("\\\n", " "))[1:]) == 0
    page = html.unescape((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert "recall: objects' pixels labelled right" in page
    assert (root / shlex.split(measuring)[3]).exists()
