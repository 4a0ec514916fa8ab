"""Where many classes occur each has a page: its numbers are those of the evaluation."""

from __future__ import annotations

import re

import numpy as np
import pytest

from conformal_plugin import Calibration, evaluate
from conformal_plugin.cli import main
from conformal_plugin.files import label_files, map_files, write_label

CLASSES = 14


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of fourteen classes, one of which never occurs; the folder."""
    root = tmp_path_factory.mktemp("many")
    (root / "maps").mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        truth = rng.integers(0, CLASSES - 1, (9, 9)).astype(np.uint8)
        scores = 0.5 * rng.random((CLASSES, 9, 9))
        scores += 0.5 * (truth == np.arange(CLASSES)[:, None, None])
        np.savez(root / "maps" / f"{i}.npz", probs=scores.astype(np.float16))
        write_label(root / "labels" / f"{i}.png", truth)
    (root / "names.txt").write_text("\n".join(f"<{c}> & co" for c in range(CLASSES)))
    data = ["--maps", root / "maps", "--labels", root / "labels"]
    calibration = root / "calibration.json"
    for command in (
        ["calibrate", *data, "--alpha", "0.1", "-o", calibration],
        ["report", *data, "--calibration", calibration, "--names", root / "names.txt"]
        + ["--out", root / "report", "--no-png", "--examples", 0],
    ):
        assert main([str(part) for part in command]) == 0
    return root


def test_each_class_that_occurs_has_a_page(report):
    pages = sorted(path.name for path in (report / "report" / "classes").iterdir())
    assert pages == [f"{c:03d}.html" for c in range(CLASSES - 1)]
    text = (report / "report" / "report.html").read_text(encoding="utf-8")
    links = re.findall(r'<a href="(classes/\d+\.html)">&lt;(\d+)&gt; &amp; co</a>', text)
    assert sorted(links) == [(f"classes/{c:03d}.html", str(c)) for c in range(CLASSES - 1)]


def test_its_numbers(report):
    ids = [str(i) for i in range(8)]
    measured = evaluate(
        map_files(report / "maps", ids),
        label_files(report / "labels", ids),
        Calibration.load(report / "calibration.json"),
    )
    for c in (0, 7):
        text = (report / "report" / "classes" / f"{c:03d}.html").read_text(encoding="utf-8")
        assert f"<h1>&lt;{c}&gt; &amp; co</h1>" in text
        cards = re.findall(r"<dt>(.*?)</dt><dd><b>(.*?)</b>", text)
        assert dict(cards) == {
            "pixels": f"{measured.confusion[c].sum():,}",
            "kept": f"{100 * measured.kept_per_class[c]:.1f} %",
            "precision": f"{100 * measured.precision_per_class[c]:.1f} %",
            "IoU": f"{100 * measured.iou_per_class()[c]:.1f} %",
        }
        labelled, truly = text.split("<svg")[1:]
        right = 100 * measured.confusion[c, c]
        assert f"{right / measured.confusion[c].sum():.1f} %" in labelled
        assert f"{right / measured.confusion[:, c].sum():.1f} %" in truly
        assert "<script" not in text
        assert "url(" not in text
