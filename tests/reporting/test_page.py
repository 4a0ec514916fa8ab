"""The page: one file, well formed, with an alt text for everything that is seen."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from conformal_plugin import Calibration, evaluate
from conformal_plugin.files import label_files, map_files

VOID = {"meta", "img", "input"}


class Checked(HTMLParser):
    """Checks nesting, and collects every tag with its attributes."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open = []
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(params=["pixel", "class-conditional"])
def folder(request, reported):
    return reported.root / request.param


@pytest.fixture
def text(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def tags(text):
    parser = Checked()
    parser.feed(text)
    assert not parser.open
    return parser.tags


def test_nothing_is_loaded_and_nothing_runs(text, tags):
    names = {tag for tag, _ in tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "a"}
    for _, attributes in tags:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert "href" not in attributes
    assert "url(" not in text
    assert "@import" not in text
    policy = next(a["content"] for _, a in tags if a.get("http-equiv"))
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_everything_seen_has_a_text(tags):
    pictures = [a for tag, a in tags if tag == "img"]
    named = [a for a in pictures if a["alt"]]
    assert len(named) == 24  # six images as photo, truth, raw and kept
    assert len(pictures) - len(named) == 18  # and the photo under each of the labels
    charts = [a for tag, a in tags if tag == "svg"]
    assert len(charts) >= 5
    assert all(a["role"] == "img" and len(a["aria-label"]) > 40 for a in charts)


def test_labels_lie_over_the_photo_as_strongly_as_is_asked_for(text, tags):
    choices = [a for tag, a in tags if tag == "input"]
    assert [a["id"] for a in choices] == ["mix100", "mix75", "mix50", "mix25", "mix0"]
    assert all((a["type"], a["name"]) == ("radio", "mix") for a in choices)
    assert ["checked" in a for a in choices] == [True, False, False, False, False]
    for strength in (75, 50, 25, 0):
        assert f"main:has(#mix{strength}:checked) {{ --labels: " in text


def test_it_fits_a_phone_and_the_dark(text, tags):
    assert any(a.get("name") == "viewport" and "device-width" in a["content"] for _, a in tags)
    assert "prefers-color-scheme: dark" in text
    assert "max-width: 640px" in text


def test_names_are_text_not_markup(text):
    assert "<title>A &amp; B</title>" in text
    assert "<b>&amp;" not in text
    assert "&lt;b&gt;&amp;amp;" in text


def test_it_says_what_the_calibration_claims(folder, reported, text):
    calibration = json.loads((reported.root / f"{folder.name}.json").read_text())
    statement = calibration["guarantee"]["statement"]
    assert statement in unescape(text)
    assert "heuristic" in text
    assert "alpha = 0.1" in text
    assert f"{calibration['n_pixels']:,} pixels" in text


def test_the_worst_image_is_the_one_that_is_covered_least(folder, reported, text):
    calibration = Calibration.load(reported.root / f"{folder.name}.json")
    ids = [name for name in reported.ids if name != "im05"]  # which has no label
    maps = map_files(reported.root / "maps", ids)
    labels = label_files(reported.root / "labels", ids)
    coverage = evaluate(maps, labels, calibration).image_coverage
    assert coverage[0] != coverage.min()
    shown = re.search(r"average and\s+([\d.]+) % in the worst image", unescape(text))
    assert shown is not None
    assert float(shown[1]) == pytest.approx(100 * coverage.min(), abs=0.06)


def test_thresholds_per_class_where_there_are_several(folder, text):
    several = folder.name == "class-conditional"
    assert ("Thresholds per class" in text) == several
    assert ("<th>K_c</th>" in text) == several
    assert (folder / "figures" / "thresholds.svg").exists() == several


def test_the_charts_are_files_too(folder):
    files = sorted(path.stem for path in (folder / "figures").glob("*.svg"))
    expected = {"classes", "confusion", "coverage_images", "coverage_pixels", "worth"}
    assert expected <= set(files)
    for name in files:
        root = ElementTree.parse(folder / "figures" / f"{name}.svg").getroot()
        assert root.tag.endswith("svg")
        for element in root.iter():
            for value in element.attrib.values():
                assert not re.search(r"\bnan\b|\binf\b", value), f"{name}: {value}"
