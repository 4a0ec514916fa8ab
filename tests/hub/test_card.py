"""The card says what the calibration says, in the Hub's form, whatever names it is given."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from conformal_plugin import Calibration, calibrate_class_conditional, calibrate_image_level
from conformal_plugin.hub import Shared, share

markdown_it = pytest.importorskip("markdown_it")
yaml = pytest.importorskip("yaml")


def parts(card: Path) -> tuple[dict[str, Any], str]:
    """The YAML, and the Markdown after it."""
    _, front, body = card.read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


def rows(body: str) -> list[list[str]]:
    """The cells of all tables as a reader sees them."""
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(body)
    found: list[list[str]] = []
    for before, token in pairwise(tokens):
        if token.type == "tr_open":
            found.append([])
        elif before.type in ("td_open", "th_open"):
            found[-1].append("".join(part.content for part in token.children or ()))
    return found


def test_it_says_what_was_calibrated(shared: Path, made: SimpleNamespace) -> None:
    front, body = parts(shared / "README.md")
    assert front["license"] == "cc-by-4.0"
    assert front["task_categories"] == ["image-segmentation"]
    assert front["size_categories"] == ["n<1K"]
    assert {"conformal-plugin", "pseudo-labels"} <= set(front["tags"])
    calibration = made.calibration
    facts = {row[0]: row[1] for row in rows(body) if len(row) == 2}
    assert facts["promise"] == "pixel-marginal, per pixel"
    assert facts["kind"] == "heuristic (no theorem)"
    assert facts["alpha"] == "0.3"
    assert facts["threshold on 1 - P(class)"] == f"{calibration.qhat:.6g}"
    assert facts["calibrated on"].startswith(f"{calibration.n_images} images, 210 pixels")
    assert len(facts["SHA-256 of the file"]) == 64
    classes = [row for row in rows(body) if len(row) == 5][1:]
    assert [row[1] for row in classes] == ["background", "cat", "dog"]
    assert [int(row[3]) for row in classes] == calibration.pixels_per_class.tolist()
    kept = made.arrays != 255
    assert 0 < kept.mean() < 1
    assert f"{100 * kept.mean():.2f} % of the pixels have a label" in body
    for c, row in enumerate(classes):
        assert row[4] == f"{100 * (made.arrays == c).sum() / kept.sum():.2f} %"
    assert calibration.guarantee.statement in " ".join(body.replace("\n>", "").split())
    assert "the labels are \\<odd\\>" in body


def test_an_exact_promise_is_called_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.dirichlet(np.ones(3), (12, 5)), rng.integers(0, 3, (12, 5))
    maps = scores.transpose(0, 2, 1)[..., None].astype(np.float32)
    calibrate_image_level(maps, labels[..., None], 0.2).save(tmp_path / "c.json")
    share(tmp_path / "out", tmp_path / "c.json")
    front, body = parts(tmp_path / "out" / "README.md")
    assert front["library_name"] == "conformal-plugin"
    assert "license" not in front
    assert "None was stated" in body
    assert ["kind", "exact (a theorem for finite samples)"] in rows(body)
    assert "nothing tells whether yours come from the same annotator" in body


def test_an_infinite_threshold_and_those_per_class(tmp_path: Path, made: SimpleNamespace) -> None:
    infinite = dataclasses.replace(made.calibration, qhat=float("inf"))
    infinite.save(tmp_path / "c.json")
    share(tmp_path / "out", tmp_path / "c.json")
    assert ["threshold on 1 - P(class)", "infinite"] in rows(parts(tmp_path / "out/README.md")[1])
    rng = np.random.default_rng(0)
    points = rng.dirichlet(np.ones(3), 90).astype(np.float32)
    classwise = calibrate_class_conditional(points, rng.integers(0, 3, 90), 0.2)
    classwise.save(tmp_path / "d.json")
    share(tmp_path / "out2", tmp_path / "d.json")
    found = [row for row in rows(parts(tmp_path / "out2" / "README.md")[1]) if len(row) == 5]
    assert found[0][4] == "threshold"
    assert [row[4] for row in found[1:]] == [f"{q:.6g}" for q in np.asarray(classwise.qhat)]


def test_names_mean_nothing_in_markdown(tmp_path: Path, made: SimpleNamespace) -> None:
    hostile = ("<script>x</script>", "a | b", "[x](http://x) `y` **z** \\| &lt; #1 ~~w~~ ![i](j)")
    title = "# --- {{ 1 }} <b>"
    share(tmp_path / "out", made.file, class_names=hostile, title=title, labels=made.labels)
    front, body = parts(tmp_path / "out" / "README.md")
    assert front["pretty_name"] == title
    assert [row[1] for row in rows(body) if len(row) == 5][1:] == list(hostile)
    html = markdown_it.MarkdownIt("commonmark").enable("table").render(body)
    assert "<script" not in html
    assert "<b>" not in html
    assert "<img" not in html
    assert html.count("<table>") == 2
    assert Shared.from_pretrained(tmp_path / "out").contents.class_names == hostile


def test_the_calibration_is_the_same_file(shared: Path, made: SimpleNamespace) -> None:
    assert (shared / "calibration.json").read_bytes() == made.file.read_bytes()
    assert Calibration.load(shared / "calibration.json").qhat == made.calibration.qhat
