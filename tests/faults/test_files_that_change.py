"""A file that changes is noticed, whenever it does: no old result is called that of a new file."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformal_plugin.cli import _checkpoint
from conformal_plugin.errors import SourceFileError
from conformal_plugin.files import FileState, MapReader, MapStore, read_label, take, write_label


def filtering(data, *more):
    out = data.root / "out"
    return ["filter", "--maps", data.maps, "--qhat", 0.4, "--out", out, "--json", *more]


def calibrating(data, *more, output="c.json"):
    return [
        *("calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list),
        *("--alpha", 0.4, "-o", data.root / output, *more),
    ]


def other_scores(data, name):
    """Another map of the same size under an id."""
    path = data.maps / f"{name}.npy"
    np.save(path, np.load(path)[::-1])


@pytest.fixture
def replaced_after_reading(monkeypatch):
    """``replaced_after_reading(action)``: done once, after ``im2`` was read."""

    def arm(action):
        read, done = MapReader.__call__, []

        def reading(self, path):
            scores = read(self, path)
            if path.stem == "im3" and not done:  # the one ahead: that of im2 is not written yet
                done.append(1)
                action()
            return scores

        monkeypatch.setattr(MapReader, "__call__", reading)

    return arm


def test_a_map_replaced_between_reading_and_writing_gets_its_label_next_time(
    data, run, replaced_after_reading
):
    replaced_after_reading(lambda: other_scores(data, "im2"))
    assert run(*filtering(data)).code == 0
    old = read_label(data.root / "out" / "im2.png")
    again = json.loads(run(*filtering(data)).out)
    assert (again["written"], again["already_there"]) == (1, 5)
    assert (read_label(data.root / "out" / "im2.png") != old).any()
    assert json.loads(run(*filtering(data)).out)["written"] == 0


def test_a_map_that_changes_while_it_is_read_is_refused(data, run, replaced_after_reading):
    replaced_after_reading(lambda: other_scores(data, "im3"))
    done = run(*filtering(data))
    assert done.code == 2
    assert "im3.npy changed while it was read; run again" in done.err
    assert run(*filtering(data)).code == 0


def test_what_is_missing_is_told_by_its_reader(tmp_path):
    def absent():
        raise SourceFileError("absent")

    with pytest.raises(SourceFileError, match="absent"):
        take(absent, tmp_path / "a")


def test_a_checkpoint_does_not_take_a_map_that_came_later(
    data, run, replaced_after_reading, monkeypatch
):
    monkeypatch.setattr(_checkpoint, "EVERY_IMAGES", 1)
    replaced_after_reading(lambda: other_scores(data, "im2"))
    (data.maps / "im5.npy").write_bytes(b"nonsense")  # ends the run with its checkpoint in place
    assert run(*calibrating(data)).code == 2
    done = run(*calibrating(data))
    assert done.code == 2
    assert "beginning anew" in done.err


def test_a_checkpoint_looks_at_no_file_again(data, run, monkeypatch):
    """It looked at all files so far, each time: 212 seconds at 100,000 images."""
    looked, of = [], FileState.of

    def counted(path):
        looked.append(path)
        return of(path)

    monkeypatch.setattr(FileState, "of", counted)
    seldom = run(*calibrating(data, output="seldom.json"))
    number = len(looked)
    monkeypatch.setattr(_checkpoint, "EVERY_IMAGES", 1)
    often = run(*calibrating(data, output="often.json"))
    assert (seldom.code, often.code) == (0, 0)
    assert len(looked) - number == number > len(data.ids)


def test_a_second_reading_is_of_the_files_that_were_counted(data, run, replaced_after_reading):
    for name in data.ids:  # float32 is read again for the exact threshold
        path = data.maps / f"{name}.npy"
        np.save(path, np.load(path).astype(np.float32))
    replaced_after_reading(lambda: other_scores(data, "im0"))
    done = run(*calibrating(data))
    assert done.code == 2
    assert "a map has changed since it was counted" in done.err


def test_a_damaged_label_is_made_again(data, run):
    run(*filtering(data))
    path = data.root / "out" / "im1.png"
    whole = bytearray(path.read_bytes())
    good = read_label(path)
    whole[whole.index(b"IDAT") + 8] ^= 4
    path.write_bytes(whole)
    assert json.loads(run(*filtering(data)).out)["written"] == 1
    np.testing.assert_array_equal(read_label(path), good)


def same_time(path, change):
    """Change a file behind its time's back, as a failing disk does."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flip(content):
    content[-2] ^= 0x40


def test_verify_finds_scores_that_changed_in_silence(data, run):
    run(*filtering(data))
    assert json.loads(run(*filtering(data, "--verify")).out)["written"] == 0
    same_time(data.maps / "im4.npy", flip)
    assert json.loads(run(*filtering(data)).out)["written"] == 0
    assert json.loads(run(*filtering(data, "--verify")).out)["written"] == 1
    assert json.loads(run(*filtering(data, "--verify")).out)["written"] == 0


def test_a_calibration_says_when_it_is_made_of_other_values(data, run):
    assert run(*calibrating(data)).code == 0
    first = json.loads((data.root / "c.json").read_text())["read"]
    assert first["images"] == 6
    assert "other scores or labels" not in run(*calibrating(data)).err
    assert json.loads((data.root / "c.json").read_text())["read"] == first
    same_time(data.maps / "im4.npy", flip)
    done = run(*calibrating(data))
    assert "c.json was made of the same ids with other scores or labels" in done.err
    second = json.loads((data.root / "c.json").read_text())["read"]
    assert second["ids"] == first["ids"]
    assert second["values"] != first["values"]
    write_label(data.labels / "im0.png", 2 - read_label(data.labels / "im0.png"))
    assert "other scores or labels" in run(*calibrating(data)).err


def test_the_digest_does_not_depend_on_kills(data, run, monkeypatch):
    monkeypatch.setattr(_checkpoint, "EVERY_IMAGES", 1)
    run(*calibrating(data, output="whole.json"))
    whole = (data.maps / "im4.npy").read_bytes()
    status = (data.maps / "im4.npy").stat()
    (data.maps / "im4.npy").write_bytes(b"nonsense")
    assert run(*calibrating(data)).code == 2
    (data.maps / "im4.npy").write_bytes(whole)
    os.utime(data.maps / "im4.npy", ns=(status.st_atime_ns, status.st_mtime_ns))
    done = run(*calibrating(data))
    assert "4 of 6 done" in done.err
    whole, resumed = ((data.root / f"{name}.json").read_bytes() for name in ("whole", "c"))
    assert resumed == whole


def test_a_photo_of_another_size_makes_the_fitted_label_again(data, run):
    photos = data.root / "photos"
    photos.mkdir()
    for name in data.ids:
        Image.new("RGB", (6, 8)).save(photos / f"{name}.png")
    more = ("--photos", photos, "--resize")
    run(*filtering(data, *more))
    Image.new("RGB", (9, 7)).save(photos / "im3.png")
    assert json.loads(run(*filtering(data, *more)).out)["written"] == 1
    assert read_label(data.root / "out" / "im3.png").shape == (7, 9)


def test_maps_of_more_classes_do_not_join_labels_that_are_there(data, run):
    run(*filtering(data))
    np.save(data.maps / "im7.npy", np.full((5, 8, 6), 0.2, np.float16))
    done = run(*filtering(data))
    assert done.code == 2
    assert "image im7: the map has 5 classes and the ones before it 3" in done.err


@pytest.fixture
def stores(tmp_path):
    """Two folders of maps of two annotators."""
    made = []
    for model in ("one", "two"):
        store = MapStore(tmp_path / model, annotator={"model": model}, class_names=("a", "b", "c"))
        for name in ("x", "y", "z"):
            store.write(name, np.full((3, 4, 4), 0.25))
        made.append(store)
    return made


@pytest.mark.parametrize("manifest", [True, False])
def test_a_map_of_another_annotator_is_not_filtered(stores, run, tmp_path, manifest):
    mine, other = stores
    shutil.copy(other.path("y"), mine.path("y"))
    if not manifest:
        (mine.folder / "store.json").unlink()
    done = run("filter", "--maps", mine.folder, "--qhat", 0.6, "--out", tmp_path / "out")
    assert done.code == 2
    assert "y.cpmap is of another annotator than" in done.err


ANNOTATOR = """
import numpy as np
def scores(photo):
    scores = np.full((3,) + photo.shape[:2], 0.1, np.float32)
    scores[photo[0, 0, 0] // 100] = 0.7
    return scores
"""


@pytest.fixture
def annotating(tmp_path, monkeypatch, run):
    """Runs ``annotate`` over one photo; gives how many maps were written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    Path("photos").mkdir()
    Path("classes.txt").write_text("a\nb\nc\n")
    Path("annotator_of_change.py").write_text(ANNOTATOR)
    photo((8, 8), 0)

    def written():
        done = run(
            *("annotate", "--photos", "photos", "--annotator", "annotator_of_change:scores"),
            *("--classes", "classes.txt", "--background", "none", "--out", "store", "--json"),
        )
        assert done.code == 0, done.err
        return json.loads(done.out)["written"]

    yield written
    sys.modules.pop("annotator_of_change", None)


def photo(size, value):
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save("photos/x.png")


def test_a_map_of_a_photo_that_was_replaced_is_made_again(annotating):
    assert annotating() == 1
    assert annotating() == 0
    for size, value in (((10, 12), 220), ((10, 12), 120)):
        photo(size, value)
        assert annotating() == 1
        scores = MapStore.open("store").read("x")
        assert scores.shape[1:] == size
        assert np.unique(scores.argmax(axis=0)) == [value // 100]


def test_a_photo_that_was_copied_keeps_its_map(annotating):
    annotating()
    os.utime("photos/x.png", (1, 1))
    assert annotating() == 0
    Path("photos/x.png").write_bytes(b"nonsense")
    with pytest.raises(AssertionError, match="none of the 1 photos could be annotated"):
        annotating()


def test_a_store_that_says_nothing_of_photos_is_kept_where_sizes_fit(annotating):
    annotating()
    store = MapStore.open("store")
    store.write("x", np.full((3, 8, 8), 0.25))  # as releases before this one did
    assert annotating() == 0
    photo((10, 12), 0)
    assert annotating() == 1
