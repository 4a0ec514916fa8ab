"""Names come from users' files: whatever they hold, the page has the same markup and shows it."""

from __future__ import annotations

import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from conformal_plugin import calibrate_class_conditional, choose
from conformal_plugin.cli import main
from conformal_plugin.reporting import (
    Example,
    Subject,
    all_figures,
    gather,
    label_picture,
    page,
)

# Each longer than the 14 letters at which charts cut the names on their axes.
TAME = "a name as usual"
HOSTILE = (
    "<script>alert(1)</script>",
    "</style></title><h1>x",
    "\" onerror='alert(1)' x=\"",
    "a & b &amp; &lt;i&gt;",
    "{{ page }}{% raw %}{# #}",
    "-->]]><!-- <!doctype",
)


class Parsed(HTMLParser):
    """Tags with the names of their attributes; and everything that is read as text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.markup = []
        self.texts = []
        self.feed(text)
        self.close()
        self.text = "".join(self.texts)

    def handle_starttag(self, tag, attrs):
        self.markup.append((tag, *(name for name, _ in attrs)))
        self.texts += [value or "" for _, value in attrs]

    def handle_endtag(self, tag):
        self.markup.append(f"/{tag}")

    def handle_comment(self, data):
        self.markup.append("comment")

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def subject_named():
    """Makes a subject in which ``name`` is the name of all that can have one."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (6, 8, 8))
    right = labels[:, None] == np.arange(3)[:, None, None]
    scores = (0.5 * right + 0.5 * rng.random(right.shape)).astype(np.float32)
    calibration = calibrate_class_conditional(scores, labels, 0.2)
    evidence = gather(scores, labels, calibration, rule="foreground-first")
    choice = choose(scores, labels)
    colours = {c: (c, c, c) for c in range(3)}
    picture = label_picture(labels[0], colours)

    def make(name):
        names = [name] * 3
        guarantee = replace(calibration.guarantee, name=name, statement=name)
        hostile = replace(calibration, guarantee=guarantee)
        figures = all_figures(
            hostile, evidence.evaluation, evidence.halves, choice, "foreground-first", names
        )
        shown = [Example(name, "best", 0.5, {name: picture})]
        return Subject(name, hostile, evidence, choice, figures, shown, names, colours)

    return make


@pytest.mark.parametrize("name", HOSTILE)
def test_names_change_no_markup_and_are_read_as_they_are(subject_named, name):
    tame, hostile = (Parsed(page(subject_named(one))) for one in (TAME, name))
    assert len(tame.markup) > 100
    assert hostile.markup == tame.markup
    assert hostile.text.count(name) == tame.text.count(TAME) > 20


def test_remarks_are_of_the_calibration_that_is_reported(subject_named):
    subject = replace(subject_named(TAME), remarks=["The <b> changes nothing."])
    assert "At this calibration: the <b> changes nothing." in Parsed(page(subject)).text


def test_where_the_template_engine_is_missing_the_remedy_comes_before_the_work(
    reported, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    command = ["report", "--maps", reported.root / "maps", "--labels", reported.root / "labels"]
    command += ["--ids", reported.root / "ids.txt", "--out", tmp_path / "report"]
    command += ["--calibration", reported.root / "pixel.json"]
    assert main([str(part) for part in command]) == 2
    said = capsys.readouterr().err
    assert "the page of a report needs the package jinja2, which is not installed" in said
    assert 'pip install "conformal-plugin[cli]"' in said
    assert not (tmp_path / "report").exists()


def test_a_class_is_called_by_its_name_too(subject_named):
    remarks = ["Class 1 is taken for class 12, and class 2 less so; classify 1 as such."]
    subject = replace(subject_named("cow"), remarks=remarks)
    said = Parsed(page(subject)).text
    assert "class 1 (cow) is taken for class 12, and class 2 (cow) less so; classify 1" in said
    numbered = replace(subject, names=[f"class {c}" for c in range(3)])
    assert "class 1 is taken for class 12, and class 2 less so" in Parsed(page(numbered)).text
