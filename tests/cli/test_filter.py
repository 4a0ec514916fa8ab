"""``conformal-plugin filter``: the library's labels as PNGs, lists, and what is refused."""

from __future__ import annotations

import json
import os
import zlib

import numpy as np
import pytest
from PIL import Image

from conformal_plugin import Calibration, filter
from conformal_plugin.files import map_files, read_label
from conformal_plugin.files._palette import voc_palette
from conformal_plugin.labelling import thin


def arguments(data, *more):
    return ["filter", "--maps", data.maps, "--ids", data.list, "--out", data.root / "out", *more]


def photos(data, size=(5, 6)):
    (data.root / "photos").mkdir()
    for name in data.ids:
        Image.new("RGB", size).save(data.root / "photos" / f"{name}.jpg")
    return data.root / "photos"


@pytest.mark.parametrize("rule", ["foreground-first", "most-probable", "singleton"])
def test_it_writes_what_the_library_gives(data, run, calibrated, rule):
    done = run(*arguments(data, "--calibration", calibrated, "--rule", rule, "--json"))
    assert done.code == 0, done.err
    calibration = Calibration.load(calibrated)
    labels = [filter(m, calibration, rule=rule) for m in map_files(data.maps, data.ids)]
    for name, expected in zip(data.ids, labels):
        path = data.root / "out" / f"{name}.png"
        np.testing.assert_array_equal(read_label(path), expected)
        with Image.open(path) as image:
            assert image.mode == "P"
    content = json.loads(done.out)
    everything = np.stack(labels)
    assert content["written"] == 12
    assert content["kept"] == pytest.approx((everything != 255).mean())
    for c in range(4):
        assert content["share_per_class"][str(c)] == pytest.approx((everything == c).mean())
    assert (data.root / "out" / "pseudo_labels.txt").read_text().split() == data.ids
    manifest = json.loads((data.root / "out" / "labels.json").read_text())
    assert manifest["qhat"] == calibration.qhat
    assert manifest["rule"] == rule
    assert {"background", "ignore_index", "key", "resize", "alpha"} <= manifest.keys()


def test_numbers_one_or_one_per_class(data, run):
    assert run(*arguments(data, "--qhat", 0.4)).code == 0
    done = run(*arguments(data, "--qhat", 0.4, 0.1, 0.4, 0.4))
    assert done.code == 2
    assert "qhat was 0.4 and is [0.4, 0.1, 0.4, 0.4]" in done.err
    assert run(*arguments(data, "--qhat", 0.4, 0.1, 0.4, 0.4, "--overwrite")).code == 0
    expected = filter(next(iter(map_files(data.maps, data.ids))), [0.4, 0.1, 0.4, 0.4])
    np.testing.assert_array_equal(read_label(data.root / "out" / "im0000.png"), expected)
    done = run(*arguments(data, "--qhat", 0.4, 0.1, "--overwrite"))
    assert done.code == 2
    assert "one per class, 4 here" in done.err


def test_lines_of_photo_and_label(data, run):
    done = run(
        *arguments(data, "--qhat", 0.4, "--photos", photos(data)),
        *("--id-list", data.root / "lists" / "pairs.txt"),
    )
    assert done.code == 0, done.err
    lines = (data.root / "lists" / "pairs.txt").read_text().splitlines()
    assert lines == [f"photos/{name}.jpg out/{name}.png" for name in data.ids]
    for line in lines:
        assert all((data.root / path).is_file() for path in line.split(" "))
    root = ("--photos", data.root / "photos", "--root")
    assert run(*arguments(data, "--qhat", 0.4, *root, data.root.parent)).code == 0
    first = (data.root / "out" / "pseudo_labels.txt").read_text().splitlines()[0]
    assert first == "data/photos/im0000.jpg data/out/im0000.png"
    done = run(*arguments(data, "--qhat", 0.4, *root, data.maps))
    assert done.code == 2
    assert "does not hold both" in done.err


def test_photos_and_labels_on_different_drives(data, run, monkeypatch):
    """As on Windows, where such paths have nothing in common and none leads to the other."""

    def refuse(*paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(os.path, "commonpath", refuse)
    assert run(*arguments(data, "--qhat", 0.4, "--photos", photos(data))).code == 0
    first = (data.root / "out" / "pseudo_labels.txt").read_text().splitlines()[0]
    expected = (data.root / "photos" / "im0000.jpg", data.root / "out" / "im0000.png")
    assert first == " ".join(path.as_posix() for path in expected)
    monkeypatch.setattr(os.path, "relpath", refuse)
    root = ("--photos", data.root / "photos", "--root", data.root)
    done = run(*arguments(data, "--qhat", 0.4, *root))
    assert done.code == 2
    assert "does not hold both" in done.err


def test_photos_of_another_size_are_refused_or_fitted(data, run):
    folder = photos(data, size=(10, 12))
    done = run(*arguments(data, "--qhat", 0.4, "--photos", folder))
    assert done.code == 2
    assert "image im0000: the map is 6 x 5 (height x width) and the photo 12 x 10" in done.err
    done = run(*arguments(data, "--qhat", 0.4, "--photos", folder, "--resize", "--overwrite"))
    assert done.code == 0
    assert read_label(data.root / "out" / "im0000.png").shape == (12, 10)
    done = run(*arguments(data, "--qhat", 0.4, "--resize"))
    assert done.code == 2
    assert "--photos DIR" in done.err


def test_an_uninformative_threshold_is_refused_before_anything_is_written(data, run):
    for qhat in ("1", "inf"):
        done = run(*arguments(data, "--qhat", qhat))
        assert done.code == 2
        assert "every class is in every prediction set" in done.err
        assert "larger alpha" in done.err
    assert not (data.root / "out").exists()


def test_labels_of_others_are_not_overwritten(data, run):
    before = (data.labels / "im0000.png").read_bytes()
    into_labels = ("filter", "--maps", data.maps, "--out", data.labels, "--qhat", 0.4)
    done = run(*into_labels)
    assert done.code == 2
    assert "holds 12 labels of these ids that this command did not make" in done.err
    assert (data.labels / "im0000.png").read_bytes() == before
    assert run(*into_labels, "--overwrite").code == 0
    assert (data.labels / "im0000.png").read_bytes() != before


def test_a_foreign_manifest_is_not_overwritten(data, run):
    (data.root / "out").mkdir()
    (data.root / "out" / "labels.json").write_text("[]")
    done = run(*arguments(data, "--qhat", 0.4))
    assert done.code == 2
    assert "is there and not of this command" in done.err


def test_other_settings_are_refused_with_what_to_do(data, run):
    run(*arguments(data, "--qhat", 0.4))
    done = run(*arguments(data, "--qhat", 0.4, "--rule", "singleton"))
    assert done.code == 2
    assert "rule was foreground-first and is singleton" in done.err
    assert "--overwrite to replace them, or another folder" in done.err
    assert run(*arguments(data, "--qhat", 0.4, "--rule", "singleton", "--overwrite")).code == 0


@pytest.mark.parametrize(
    ("qhat", "rule", "said"),
    [
        (0.0001, "foreground-first", "warning: nearly nothing was kept"),
        (0.9, "most-probable", "warning: The threshold changes nothing: 100.00 % of the pixels"),
        (0.4, "foreground-first", None),
    ],
)
def test_a_threshold_that_decides_nothing_is_pointed_out(data, run, qhat, rule, said):
    done = run(*arguments(data, "--qhat", qhat, "--rule", rule))
    assert done.code == 0
    assert said in done.err if said else "warning" not in done.err


def test_thinned_labels_are_the_librarys(data, run):
    calibration = data.root / "all_levels.json"
    choosing = ("--maps", data.maps, "--labels", data.labels, "--ids", data.list)
    assert run("calibrate", *choosing, "-o", calibration).code == 0
    thinning = arguments(data, "--calibration", calibration, "--thin")
    assert run(*thinning).code == 0
    found = Calibration.load(calibration)
    for name, scores in zip(data.ids, map_files(data.maps, data.ids)):
        expected = thin(filter(scores, found), scores, found, seed=zlib.crc32(name.encode()))
        made = read_label(data.root / "out" / f"{name}.png")
        np.testing.assert_array_equal(made, expected)
    assert json.loads(run(*thinning, "--json").out)["written"] == 0
    whole = run(*arguments(data, "--calibration", calibration))
    assert "thinned was True and is None" in whole.err


def test_thinning_takes_a_calibration_of_all_levels(data, run, calibrated):
    done = run(*arguments(data, "--calibration", calibrated, "--thin"))
    assert done.code == 2
    assert "--thin takes thresholds of all levels" in done.err
    assert run(*arguments(data, "--qhat", 0.4, "--thin")).code == 2
    assert "--thin is about prediction sets" in run(*arguments(data, "--raw", "--thin")).err
    assert not (data.root / "out").exists()


def test_what_is_pointed_out_is_left_beside_the_labels(data, run):
    def remarks():
        return json.loads((data.root / "out" / "labels.json").read_text())["remarks"]

    useless = arguments(data, "--qhat", 0.9, "--rule", "most-probable")
    assert run(*useless).code == 0
    (remark,) = remarks()
    assert remark.startswith("The threshold changes nothing: 100.00 %")
    assert run(*useless).code == 0  # nothing is read, so nothing is seen anew
    assert remarks() == [remark]
    assert run(*arguments(data, "--qhat", 0.4, "--overwrite")).code == 0
    assert remarks() == []


def test_what_is_pointed_out_is_of_the_first_images_whichever_run_labelled_them(data, run):
    options = arguments(data, "--qhat", 0.8, "--rule", "foreground-first")
    manifest, labels = data.root / "out" / "labels.json", data.root / "out"
    assert run(*options).code == 0
    whole = manifest.read_text()
    (remark,) = json.loads(whole)["remarks"]
    assert remark.startswith("What the threshold changes is mostly background into object: ")
    # A killed run leaves no remarks and some of the labels.
    content = json.loads(whole)
    del content["remarks"]
    for some in (data.ids[:1], data.ids[1:], []):
        manifest.write_text(json.dumps(content, indent=2) + "\n")
        for name in some:
            (labels / f"{name}.png").unlink()
        again = run(*options)
        assert f"{len(some)} labels written" in again.out
        assert " ".join(remark.split()) in " ".join(again.err.split())
        assert manifest.read_text() == whole


def test_raw_labels_are_the_argmax_and_no_reason_to_warn(data, run):
    done = run(*arguments(data, "--raw", "--json"))
    assert done.code == 0
    assert "warning" not in done.err
    assert json.loads(done.out)["kept"] == 1
    for name, scores in zip(data.ids, map_files(data.maps, data.ids)):
        expected = np.asarray(scores).argmax(0)
        np.testing.assert_array_equal(read_label(data.root / "out" / f"{name}.png"), expected)
    manifest = json.loads((data.root / "out" / "labels.json").read_text())
    assert [manifest[name] for name in ("qhat", "alpha", "rule")] == [None] * 3
    again = run(*arguments(data, "--raw", "--json"))
    assert json.loads(again.out)["already_there"] == 12
    done = run(*arguments(data, "--qhat", 0.4))
    assert done.code == 2
    assert "qhat was None and is 0.4" in done.err


def test_raw_labels_of_damaged_scores_are_refused(data, run):
    np.savez(data.maps / "im0004.npz", probs=np.full((4, 6, 5), np.nan, np.float16))
    done = run(*arguments(data, "--raw"))
    assert done.code == 2
    assert "im0004" in done.err


@pytest.mark.parametrize("option", [("--rule", "singleton"), ("--background", 1)])
def test_raw_labels_take_no_rule(data, run, option):
    done = run(*arguments(data, "--raw", *option))
    assert done.code == 2
    assert f"and {option[0]} is about prediction sets; leave one of them out" in done.err
    assert not (data.root / "out").exists()


def test_grey_labels_are_read_as_they_are_by_code_that_converts(data, run, calibrated):
    """Code that reads masks with ``.convert("L")``, for which a palette's colours would count."""
    assert run(*arguments(data, "--calibration", calibrated, "--grey")).code == 0
    differ = False
    for name, scores in zip(data.ids, map_files(data.maps, data.ids)):
        expected = filter(scores, Calibration.load(calibrated))
        path = data.root / "out" / f"{name}.png"
        with Image.open(path) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.array(image.convert("L")), expected)
        np.testing.assert_array_equal(read_label(path), expected)
        palette = Image.fromarray(np.array(expected))
        palette.putpalette(voc_palette())
        differ |= bool((np.array(palette.convert("L")) != expected).any())
    assert differ  # as they would with a palette
    done = run(*arguments(data, "--calibration", calibrated))
    assert done.code == 2
    assert "grey was 8 and is None" in done.err


def test_the_labelled_photos_shares_lie_beside_the_labels(data, run, calibrated):
    """The log of a run compares with them; labels do not depend on them."""
    assert run(*arguments(data, "--calibration", calibrated)).code == 0
    path = data.root / "out" / "labels.json"
    manifest = json.loads(path.read_text())
    pixels = Calibration.load(calibrated).pixels_per_class.tolist()
    assert manifest.pop("labelled_pixels_per_class") == pixels
    path.write_text(json.dumps(manifest))  # as an earlier release wrote it
    done = run(*arguments(data, "--calibration", calibrated, "--json"))
    assert json.loads(done.out)["already_there"] == 12
    assert json.loads(path.read_text())["labelled_pixels_per_class"] == pixels


def test_maps_must_agree_on_the_classes(data, run):
    np.savez(data.maps / "im0004.npz", probs=np.full((3, 6, 5), 0.3, np.float16))
    done = run(*arguments(data, "--qhat", 0.4))
    assert done.code == 2
    assert "image im0004: the map has 3 classes and the ones before it 4" in done.err


def test_the_ignore_index_of_the_calibration_counts(data, run, calibrated):
    done = run(*arguments(data, "--calibration", calibrated, "--ignore-index", 9))
    assert done.code == 2
    assert "--ignore-index is 9" in done.err
    assert run(*arguments(data, "--qhat", 0.1, "--ignore-index", 9)).code == 0
    assert (read_label(data.root / "out" / "im0000.png") == 9).any()


def test_more_than_255_classes_give_sixteen_bits(tmp_path, run):
    scores = np.zeros((300, 2, 2), np.float16)
    scores[290] = 0.9
    (tmp_path / "maps").mkdir()
    np.save(tmp_path / "maps" / "a.npy", scores)
    done = run(
        *("filter", "--maps", tmp_path / "maps", "--out", tmp_path / "out"),
        *("--qhat", 0.5, "--ignore-index", 999),
    )
    assert done.code == 0, done.err
    assert read_label(tmp_path / "out" / "a.png").tolist() == [[290, 290], [290, 290]]


def test_an_image_whose_sets_are_all_full_is_dropped_whole(data, run):
    np.savez(data.maps / "im0004.npz", probs=np.full((4, 6, 5), 0.7, np.float16))
    done = run(*arguments(data, "--qhat", 0.4))
    assert done.code == 0, done.err
    assert "1 of 12 images have every class in the set of every pixel" in done.err
    assert "im0004" in done.err
    assert (read_label(data.root / "out" / "im0004.png") == 255).all()


def test_sets_that_are_full_everywhere_are_refused(data, run):
    for name in data.ids:
        np.savez(data.maps / f"{name}.npz", probs=np.full((4, 6, 5), 0.7, np.float16))
    done = run(*arguments(data, "--qhat", 0.4))
    assert done.code == 2
    assert "every pixel of all 12 images" in done.err
    assert "larger alpha or more labelled images" in done.err


def test_what_killed_runs_left_is_cleared_away_wherever_it_was_written(data, run):
    out, lists = data.root / "out", data.root / "lists"
    left = [
        folder / f".{name}.{'a' * 32}.tmp"
        for folder, name in ((out, "im0000.png"), (out, "unusable.tsv"), (lists, "kept.txt"))
    ]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    done = run(
        *("filter", "--maps", data.maps, "--qhat", 0.5, "--out", out),
        *("--id-list", lists / "kept.txt"),
    )
    assert done.code == 0, done.err
    assert not [path for path in left if path.exists()]
