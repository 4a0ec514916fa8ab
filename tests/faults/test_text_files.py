"""JSON, YAML and names that somebody else wrote: taken for what they say, or refused in a line."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conformal_plugin import Calibration, calibrate
from conformal_plugin._messages import one_line, shown
from conformal_plugin.adapters.loop import HostConfig
from conformal_plugin.annotators import class_list
from conformal_plugin.doctor import read_config
from conformal_plugin.errors import CalibrationFileError, OptionError, SourceFileError
from conformal_plugin.files import MapStore, find_files


@pytest.fixture(scope="module")
def good() -> dict:
    rng = np.random.default_rng(0)
    calibration = calibrate(rng.random((3, 6, 7)), rng.integers(0, 3, (6, 7)), 0.4)
    return json.loads(calibration.to_json())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("alpha", value) for value in (7, 0, 1, -0.1, "0.1", None, True, 10**400)),
        *(("n_images", value) for value in (-5, 1.5, "6", True, 2**63, None)),
        ("n_pixels", -1),
        ("n_repeats", -1),
        ("ignore_index", 1.0),
        *(("num_classes", value) for value in (99, 2, "3")),
        *(("pixels_per_class", value) for value in (3, [], [1, 1, -1], [2**70, 1, 1], "abc")),
        *(("images_per_class", value) for value in ([1, 1], [[1], [1], [1]], {"0": 1})),
        *(("qhat", value) for value in ("nan", "0.5", None, True, [0.1, 0.2], [[0.1] * 3], 1e999)),
        ("resolution", -1.0),
        ("n_effective", "many"),
        ("score", ["1 - P"]),
        *(("rule", value) for value in ("evil", 3, ["foreground-first"])),
        *(("background", value) for value in (3, -1, "0")),
        *(("pooled_classes", value) for value in ([3], [-1], 1, ["0"])),
        ("left_out_classes", [0.0]),
        ("max_pixels", -1),
        *(("guarantee", value) for value in (None, [], {}, {"name": "x", "unit": "pixel"})),
        ("guarantee", {"name": "x", "unit": 3, "exact": True, "statement": "s"}),
        ("guarantee", {"name": "x", "unit": "pixel", "exact": "no", "statement": "s"}),
        ("guarantee", {"name": "x" * 10**6, "unit": "pixel", "exact": True, "statement": "s"}),
    ],
)
def test_a_calibration_that_says_nonsense_is_refused(good, name, value) -> None:
    with pytest.raises(CalibrationFileError, match=r"not JSON|damaged .*'?\w+'?") as caught:
        Calibration.from_json(json.dumps({**good, name: value}))
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("name", ["qhat", "alpha", "guarantee", "pixels_per_class", "n_pixels"])
def test_a_field_that_is_missing_is_named(good, name) -> None:
    with pytest.raises(CalibrationFileError, match=f"damaged .*{name}"):
        Calibration.from_json(json.dumps({key: good[key] for key in good if key != name}))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"format": "conformal-plugin calibration", "version": ' + "9" * 5000 + "}",
        '{"a": NaN}',
        '{"a": Infinity}',
        "",
        "\0",
    ],
)
def test_what_is_no_json_is_said_in_a_line(text: str) -> None:
    with pytest.raises(CalibrationFileError, match="this text is not JSON") as caught:
        Calibration.from_json(text)
    assert len(str(caught.value)) < 800


def test_all_that_a_calibration_can_be_is_read(good) -> None:
    whole = Calibration.from_json(json.dumps(good))
    for changed in (
        replace(whole, qhat=np.array([0.1, math.inf, -math.inf])),
        replace(whole, pooled_classes=(0, 2), left_out_classes=(1,)),
        replace(whole, rule="singleton", background=2, max_pixels=10**7, n_effective=3.5),
        replace(whole, ignore_index=-1, n_repeats=3),
    ):
        assert Calibration.from_json(changed.to_json()) == changed
    assert Calibration.from_json(json.dumps({**good, "of a later release": [1]})) == whole


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + "1" * 5000 + "}", "{", "\x00"])
def test_other_json_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "store.json").write_text(text)
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(SourceFileError, match=r"store\.json"):
        MapStore.open(tmp_path)
    with pytest.raises(SourceFileError, match=r"classes\.json"):
        class_list(tmp_path / "classes.json")


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB + "conformal: *a8\n", "aliases stand for more than"),
        ("a: &a [*a]\n", "a value inside itself"),
        ("a: &a {b: *a}\n", "a value inside itself"),
        ("d: 2001-02-30\n", "day is out of range"),
        ("d: !!int abc\n", "invalid literal"),
        ("d: !!python/object/apply:os.system [x]\n", "constructor"),
        ("d: " + "[" * 2000 + "]" * 2000, "nested too deeply"),
        ("a: [1\n", "expected"),
        ("\x01", "not allowed"),
    ],
)
def test_yaml_that_is_not_plain_is_refused_at_once(tmp_path: Path, text: str, reason: str) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "c.yaml").write_text("nclass: 21\n" + text)
    begin = time.monotonic()
    with pytest.raises(SourceFileError, match=f"is not plain YAML .*{reason}") as caught:
        read_config(tmp_path / "c.yaml")
    assert time.monotonic() - begin < 20
    assert len(str(caught.value)) < 800


def test_aliases_and_merged_keys_of_people_are_read(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    text = "base: &base {lr: 0.1, steps: [1, 2]}\nfirst: {<<: *base, lr: 0.2}\nagain: *base\n"
    (tmp_path / "c.yaml").write_text(text)
    assert read_config(tmp_path / "c.yaml") == {
        "base": {"lr": 0.1, "steps": [1, 2]},
        "first": {"lr": 0.2, "steps": [1, 2]},
        "again": {"lr": 0.1, "steps": [1, 2]},
    }


def test_a_huge_value_has_a_short_message(tmp_path: Path) -> None:
    huge: list = ["x"] * 9
    for _ in range(12):
        huge = [huge] * 9
    for given in (huge, {"weight": 10**400}, {"weight": huge}, {"k" * 10**6: 1}, {"mode": huge}):
        block = given if isinstance(given, list) else {"pseudo_labels": str(tmp_path), **given}
        with pytest.raises(OptionError) as caught:
            HostConfig.read({"epochs": 80, "conformal": block})
        assert len(str(caught.value)) < 1000


def test_values_in_messages_are_short() -> None:
    assert shown(3) == "3"
    assert shown("abc") == "'abc'"
    assert shown(10**5000) == "a whole number of 16610 bits"
    assert len(shown("x" * 10**6)) < 400
    assert len(shown([[["x" * 500] * 50] * 50] * 50)) < 400


@pytest.mark.parametrize("name", ["می‌خواهم", "a\u00a0b", "👩‍🔬", "z" * 220, "naïve"])
def test_names_that_a_disk_takes_are_ids(data, run, tmp_path: Path, name: str) -> None:
    assert one_line(name)
    (data.maps / "im0.npy").rename(data.maps / f"{name}.npy")
    out = tmp_path / "out"
    done = run("filter", "--maps", data.maps, "--qhat", 0.4, "--out", out)
    assert done.code == 0, done.err
    assert (out / f"{name}.png").is_file()
    assert name in (out / "pseudo_labels.txt").read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize("name", ["a\nb", "a\x1bb", "a\u2028b", "a\ud800b", "\x7f"])
def test_names_that_no_list_can_hold_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceFileError, match="no control characters") as caught:
        find_files(tmp_path, [name], (".npy",))
    str(caught.value).encode("utf-8")


@pytest.mark.parametrize("name", ["b\x01", "b\ud800", "b\u2028"])
def test_a_class_name_that_no_page_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"a": [], name: []}))
    with pytest.raises(SourceFileError, match="a control character or half a character") as caught:
        class_list(tmp_path / "c.json")
    str(caught.value).encode("utf-8")
