"""``conformal-plugin report``: a page and its charts from folders, or a clear refusal."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from conformal_plugin import Calibration, calibrate, evaluate
from conformal_plugin.files import label_files, map_files, write_label


def arguments(data, calibration, *more):
    return [
        *("report", "--maps", data.maps, "--labels", data.labels, "--ids", data.list),
        *("--calibration", calibration, "--out", data.root / "report", *more),
    ]


def test_it_writes_the_page_and_the_charts(data, run, calibrated):
    done = run(*arguments(data, calibrated, "--examples", 0, "--json"))
    assert done.code == 0, done.err
    content = json.loads(done.out)
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    assert content["report"] == str(data.root / "report" / "report.html")
    for name in content["figures"]:
        for kind in ("svg", "png"):
            assert (data.root / "report" / "figures" / f"{name}.{kind}").exists()
    assert content["formats"] == ["svg", "png"]
    assert "<img" not in text
    assert "class 3" in text


def test_without_photos_three_pictures_each(data, run, calibrated):
    done = run(*arguments(data, calibrated, "--examples", 1))
    assert done.code == 0, done.err
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    assert text.count("<img") == 9
    assert [text.count(f"<figcaption>{rank}: ") for rank in ("best", "median", "worst")] == [1] * 3


def test_the_photos_to_look_at_first(data, run, calibrated):
    review = data.root / "review"
    images = ("--maps", data.maps, "--ids", data.list, "--calibration", calibrated)
    assert run("review", *images, "--out", review).code == 0
    more = ("--examples", 1, "--review", review)
    done = run(*arguments(data, calibrated, *more))
    assert done.code == 0, done.err
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    section = text.split("Which photos to look at first")[1]
    assert "The first of 12 unlabelled photos, ranked by all" in section
    assert "never calibrate or test on them" in " ".join(section.split())
    first = json.loads((review / "review.json").read_text())["photos"]
    rows = re.findall(r'<th scope="row">(\w+)</th>', section)
    assert rows == [row["id"] for row in first]
    assert section.count("<img") == 3 * 2  # raw and kept of three
    assert f"<figcaption>1: {first[0]['id']}</figcaption>" in section


def table_of(text):
    """The rows of the table side by side, by their headings."""
    section = text.split("<h2>Side by side</h2>")[1].split("</table>")[0]
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td>', section)
    return {heading: cells for heading, *cells in rows}


def test_two_calibrations_side_by_side(data, run, calibrated):
    other = data.root / "wider.json"
    command = ("--maps", data.maps, "--labels", data.labels, "--ids", data.list)
    assert run("calibrate", *command, "--alpha", 0.4, "-o", other).code == 0
    done = run(*arguments(data, calibrated, "--against", other, "--examples", 1))
    assert done.code == 0, done.err
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    assert text.count("<span>wider.json</span>") == 3
    maps, labels = map_files(data.maps, data.ids), label_files(data.labels, data.ids)
    rows = table_of(text)
    for place, path in enumerate((calibrated, other)):
        measured = evaluate(maps, labels, Calibration.load(path))
        for heading, value in (
            ("covered", measured.coverage),
            ("kept", measured.kept),
            ("precision", measured.precision),
            ("mIoU, dropped pixels as misses", measured.miou()),
        ):
            assert rows[heading][place] == f"{100 * value:.1f} %"


def test_labels_of_a_folder_beside(data, run, calibrated):
    images = ("--maps", data.maps, "--ids", data.list, "--calibration", calibrated)
    folder = data.root / "pseudo"
    assert run("filter", *images, "--out", folder).code == 0
    done = run(*arguments(data, calibrated, "--against", folder, "--examples", 1))
    assert done.code == 0, done.err
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    rows = table_of(text)
    # They are the same labels, of which the sets are not known.
    for heading, (mine, theirs) in rows.items():
        known = heading not in ("threshold", "rule", "covered", "classes in a set")
        assert theirs == (mine if known else "-")
    write_label(folder / "im0002.png", np.full((6, 5), 9, np.uint8))
    done = run(*arguments(data, calibrated, "--against", folder))
    assert done.code == 2
    assert "and there are 4 classes" in done.err


def test_calibrations_that_cannot_be_compared(data, run, calibrated):
    other = calibrate(np.ones((9, 2, 4, 4), np.float32) / 2, np.ones((9, 4, 4), int), alpha=0.2)
    other.save(data.root / "two.json")
    done = run(*arguments(data, calibrated, "--against", data.root / "two.json"))
    assert done.code == 2
    assert "compare calibrations of the same labels" in done.err


def test_a_review_that_is_none_or_of_another_calibration(data, run, calibrated):
    review = data.root / "review"
    done = run(*arguments(data, calibrated, "--review", review))
    assert done.code == 2
    assert "name the folder that `conformal-plugin review` wrote" in done.err
    other = data.root / "other.json"
    command = ("--maps", data.maps, "--labels", data.labels, "--ids", data.list)
    assert run("calibrate", *command, "--alpha", 0.4, "-o", other).code == 0
    images = ("--maps", data.maps, "--ids", data.list, "--calibration", other)
    assert run("review", *images, "--out", review).code == 0
    done = run(*arguments(data, calibrated, "--review", review))
    assert done.code == 2
    assert "is of another calibration" in done.err
    (review / "review.json").write_text('{"format": "conformal-plugin review", "version": 1}')
    assert "cannot read the review" in run(*arguments(data, calibrated, "--review", review)).err


def test_a_promise_on_precision_is_held_to_its_rule(data, run, tmp_path):
    path = tmp_path / "precision.json"
    command = [*("calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list)]
    options = ["--guarantee", "precision", "--epsilon", 0.5, "--rule", "singleton", "-o", path]
    assert run(*command, *options).code == 0
    assert run(*arguments(data, path)).code == 0
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    assert "epsilon = 0.5" in text
    assert "rule singleton alone" in text
    done = run(*arguments(data, path, "--rule", "most-probable"))
    assert done.code == 2
    assert "the calibration is for rule='singleton'" in done.err


def test_where_nothing_is_kept(data, run, tmp_path):
    path = tmp_path / "precision.json"
    command = [*("calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list)]
    assert run(*command, "--guarantee", "precision", "--epsilon", 0.001, "-o", path).code == 0
    assert Calibration.load(path).qhat == -np.inf
    assert run(*arguments(data, path, "--examples", 1)).code == 0
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    assert "q-hat -inf" in text
    assert "<b>none</b> of the kept labels are right" in text
    assert "nan" not in text.replace("base64", "").lower().split("<h2>best")[0]


def test_an_uninformative_calibration_is_shown_as_such(data, run, tmp_path, calibrated):
    content = json.loads(calibrated.read_text())
    content["qhat"] = "inf"
    del content["checksum"]
    path = tmp_path / "infinite.json"
    path.write_text(json.dumps(content))
    assert not Calibration.load(path).informative
    assert run(*arguments(data, path)).code == 0
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    assert "q-hat inf on 1 - P(class); 1 or more puts a class into every set" in text
    assert "No labelled pixel misses its true class" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--names", "voc"], "has 21 classes and the calibration 4"),
        (["--examples", -1], "--examples must be 0 or more"),
        (["--classes", 9], "--classes must be indices in 0 ... 3, as "),
        (["--ignore-index", 0], "was made with 255"),
    ],
)
def test_bad_usage(data, run, calibrated, options, message):
    done = run(*arguments(data, calibrated, *options))
    assert done.code == 2
    assert message in done.err
    assert not (data.root / "report").exists()
