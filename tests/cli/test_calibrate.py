"""``conformal-plugin calibrate``: the library's numbers, several alphas, refusals."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from conformal_plugin import Calibration, calibrate
from conformal_plugin.files import label_files, map_files, write_label


def arguments(data, *more):
    return ["calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list, *more]


def test_it_gives_what_the_library_gives(data, run):
    output = data.root / "new" / "c.json"
    done = run(*arguments(data, "--alpha", 0.1, "-o", output))
    expected = calibrate(map_files(data.maps, data.ids), label_files(data.labels, data.ids), 0.1)
    assert done.code == 0
    assert Calibration.load(output) == expected
    assert f"q-hat {expected.qhat:.8g}" in done.out
    assert [path.name for path in output.parent.iterdir()] == ["c.json"]


def test_several_alphas_give_a_file_each(data, run):
    done = run(*arguments(data, "--alpha", 0.1, 0.2, "--json", "-o", data.root / "c.json"))
    content = json.loads(done.out)["calibrations"]
    for alpha, entry in zip((0.1, 0.2), content):
        saved = Calibration.load(data.root / f"c-{alpha}.json")
        assert saved.alpha == entry["alpha"] == alpha
        assert saved.qhat == entry["qhat"]
        assert entry["file"] == str(data.root / f"c-{alpha}.json")


def test_float32_is_exact(data, run):
    scores = [np.asarray(m).astype(np.float32) ** 1.1 for m in map_files(data.maps, data.ids)]
    for name, array in zip(data.ids, scores):
        np.savez(data.maps / f"{name}.npz", probs=array)
    run(*arguments(data, "--alpha", 0.2, "-o", data.root / "c.json"))
    saved = Calibration.load(data.root / "c.json")
    assert saved.resolution == 0.0
    assert saved.qhat == calibrate(scores, list(label_files(data.labels, data.ids)), 0.2).qhat


def test_an_infinite_threshold_is_a_string_and_a_warning(data, run):
    done = run(*arguments(data, "--alpha", 0.0001, "--json", "-o", data.root / "c.json"))
    assert done.code == 0
    assert json.loads(done.out)["calibrations"][0]["qhat"] == "inf"
    assert "warning: at alpha 0.0001 q-hat is inf" in done.err
    assert "larger alpha" in done.err


def test_without_a_list_all_maps_are_used(data, run):
    run("calibrate", "--maps", data.maps, "--labels", data.labels, "-o", data.root / "c.json")
    assert Calibration.load(data.root / "c.json").n_images == 12


def test_repeated_ids_are_counted_once_with_a_note(data, run, calibrated):
    data.list.write_text("\n".join(data.ids * 3), encoding="utf-8")
    done = run(*arguments(data, "--alpha", 0.2, "-o", data.root / "c.json"))
    assert Calibration.load(data.root / "c.json") == Calibration.load(calibrated)
    assert "note: 12 ids are listed more than once and are used once: im0000" in done.err
    assert not run(*arguments(data, "--quiet", "-o", data.root / "c.json")).err


@pytest.mark.parametrize(("folder", "what"), [("maps", "map"), ("labels", "label")])
def test_missing_files_are_found_before_any_work(data, run, monkeypatch, folder, what):
    suffix = "npz" if folder == "maps" else "png"
    for name in data.ids[-7:]:
        (getattr(data, folder) / f"{name}.{suffix}").unlink()

    def never(*_):
        raise AssertionError("work began")

    monkeypatch.setattr("conformal_plugin.calibration.Calibrator.update", never)
    done = run(*arguments(data, "-o", data.root / "c.json"))
    assert done.code == 2
    assert f"7 of 12 ids have no {what} in" in done.err
    assert "im0005, im0006, im0007, im0008, im0009, ..." in done.err
    assert not (data.root / "c.json").exists()


def test_sizes_that_differ_are_refused_or_resized(data, run):
    write_label(data.labels / "im0003.png", np.zeros((12, 10), np.uint8))
    done = run(*arguments(data, "--alpha", 0.05, "-o", data.root / "c.json"))
    assert done.code == 2
    assert "image im0003: the map is 6 x 5 (height x width) and the label 12 x 10" in done.err
    (data.root / "c.json.partial.npz").unlink()
    done = run(*arguments(data, "--alpha", 0.05, "--resize", "-o", data.root / "c.json"))
    assert done.code == 0
    assert Calibration.load(data.root / "c.json").n_pixels == 11 * 29 + 120


def test_bad_values_name_the_image(data, run):
    np.savez(data.maps / "im0002.npz", probs=np.full((4, 6, 5), 3.0, np.float16))
    done = run(*arguments(data, "--alpha", 0.05, "-o", data.root / "c.json"))
    assert done.code == 2
    assert "conformal-plugin calibrate: image im0002: " in done.err
    assert "scores must lie in [0, 1]" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("alpha", [0, 1, -0.1, "nan"])
def test_alpha_is_checked_before_any_work(data, run, alpha):
    done = run(*arguments(data, "-o", data.root / "c.json", "--alpha", alpha))
    assert done.code == 2
    assert "strictly between 0 and 1" in done.err


def test_an_output_that_is_a_folder(data, run):
    done = run(*arguments(data, "-o", data.root))
    assert done.code == 2
    assert "is a folder; name the file" in done.err


def test_another_key(data, run, calibrated):
    for name in data.ids:
        scores = np.load(data.maps / f"{name}.npz")["probs"]
        np.savez(data.maps / f"{name}.npz", probs=scores * 0, better=scores)
    output = data.root / "c.json"
    run(*arguments(data, "--key", "better", "--alpha", 0.2, "-o", output))
    assert Calibration.load(output) == Calibration.load(calibrated)


def test_subfolders(data, run, calibrated):
    for folder in (data.maps, data.labels):
        shutil.move(folder, data.root / "aside")
        shutil.move(data.root / "aside", folder / "city")
    data.list.write_text("\n".join(f"city/{name}" for name in data.ids), encoding="utf-8")
    output = data.root / "c.json"
    assert run(*arguments(data, "--alpha", 0.2, "-o", output)).code == 0
    assert Calibration.load(output) == Calibration.load(calibrated)
