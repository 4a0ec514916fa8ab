"""A folder of one annotator's maps: what is written is read, and nothing foreign gets in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files import MapStore, ids_in_folder, map_files, read_map, rounded
from conformal_plugin.files._store_codec import encode

FIXTURE = Path(__file__).parent / "fixtures" / "store-v1"
CLASSES = ("background", "disc", "square", "triangle", "cross", "ring")


def opened(folder, **other):
    settings = {"annotator": {"model": "made up", "background": "complement"}, **other}
    return MapStore(folder, class_names=CLASSES, **settings)


def test_maps_come_back_and_are_read_as_any_other(tmp_path, maps):
    store = opened(tmp_path / "maps")
    for number, scores in enumerate(maps):
        store.write(f"a/{number}", scores)
    assert store.ids() == tuple(f"a/{number}" for number in range(len(maps)))
    lazy = map_files(tmp_path / "maps", store.ids())
    for name, scores, read in zip(store.ids(), maps, lazy):
        assert store.holds(name)
        np.testing.assert_array_equal(store.read(name), rounded(scores))
        np.testing.assert_array_equal(read, rounded(scores))
        np.testing.assert_array_equal(read_map(store.path(name)), rounded(scores))
    assert not store.holds("a/99")
    assert ids_in_folder(tmp_path / "maps", [".cpmap"]).ids == store.ids()


def test_the_manifest_says_all_and_opens_the_store(tmp_path, maps):
    store = opened(tmp_path, precision=9)
    store.write("a", maps[0])
    manifest = json.loads((tmp_path / "store.json").read_text())
    assert manifest["class_names"] == list(CLASSES)
    assert manifest["precision"] == 9
    again = MapStore.open(tmp_path)
    assert (again.class_names, again.precision, again.digest) == (CLASSES, 9, store.digest)
    assert again.holds("a")


def test_another_annotator_is_refused(tmp_path):
    opened(tmp_path)
    other = {"model": "made up", "background": "prompt"}
    with pytest.raises(OptionError, match='background was "complement" and is "prompt"'):
        opened(tmp_path, annotator=other)
    with pytest.raises(OptionError, match="precision was 11 and is 16"):
        opened(tmp_path, precision=16)
    with pytest.raises(OptionError, match="class_names was .* and is"):
        MapStore(tmp_path, annotator={}, class_names=("a",))
    opened(tmp_path)


def test_a_map_that_strayed_in_is_refused(tmp_path, maps):
    store = opened(tmp_path)
    (tmp_path / "a.cpmap").write_bytes(encode(maps[0], digest=bytes(16)))
    with pytest.raises(OptionError, match="made by another annotator"):
        store.holds("a")


def test_foreign_maps_are_not_taken_over(tmp_path):
    np.savez(tmp_path / "a.npz", probs=np.zeros((6, 1, 1)))
    with pytest.raises(OptionError, match=r"holds maps but no store\.json"):
        opened(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "conformal-plugin labels"}'])
def test_a_damaged_manifest_is_told(tmp_path, content):
    (tmp_path / "store.json").write_bytes(content)
    with pytest.raises(SourceFileError, match=r"store\.json.*restore it"):
        MapStore.open(tmp_path)


def test_a_manifest_of_a_later_version(tmp_path):
    opened(tmp_path)
    manifest = json.loads((tmp_path / "store.json").read_text())
    (tmp_path / "store.json").write_text(json.dumps({**manifest, "version": 2}))
    with pytest.raises(SourceFileError, match="version 2 and this release reads 1"):
        opened(tmp_path)
    del manifest["annotator"]
    (tmp_path / "store.json").write_text(json.dumps(manifest))
    with pytest.raises(SourceFileError, match="lacks some of precision, class_names, annotator"):
        MapStore.open(tmp_path)


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "C:\\a", "..\\a", "", "a\nb"])
def test_ids_cannot_leave_the_folder(tmp_path, maps, name):
    store = opened(tmp_path / "maps")
    for use in (store.path, store.holds, store.read, lambda n: store.write(n, maps[0])):
        with pytest.raises(SourceFileError, match="stays inside its folder"):
            use(name)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["maps", "store.json"]


def test_nor_through_a_link(tmp_path, maps):
    store = opened(tmp_path / "maps")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "maps" / "link").symlink_to(tmp_path / "elsewhere")
    for use in (store.holds, store.read, lambda n: store.write(n, maps[0])):
        with pytest.raises(SourceFileError, match=r"leads out of the store.*elsewhere"):
            use("link/a")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_link_is_replaced_not_followed(tmp_path, maps):
    store = opened(tmp_path / "maps")
    target = tmp_path / "precious"
    target.write_text("mine")
    (tmp_path / "maps" / "a.cpmap").symlink_to(target)
    store.write("a", maps[0])
    assert target.read_text() == "mine"
    assert store.holds("a")


def test_what_is_missing_or_half_is_told(tmp_path, maps):
    store = opened(tmp_path)
    with pytest.raises(SourceFileError, match=r"cannot read the map .*a\.cpmap"):
        store.read("a")
    store.write("a", maps[0])
    whole = store.path("a").read_bytes()
    for part in (b"", whole[:20], whole[:-1]):
        store.path("a").write_bytes(part)
        assert not store.holds("a")
        with pytest.raises(SourceFileError, match="run the annotator again"):
            store.read("a")


def test_maps_of_other_classes_are_refused(tmp_path, maps):
    with pytest.raises(OptionError, match="has 3 classes and the store 6"):
        opened(tmp_path).write("a", maps[0][:3])


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_writer_killed_half_way_leaves_no_map(tmp_path, maps):
    opened(tmp_path)
    program = (
        "import os, signal, sys\n"
        "import numpy as np\n"
        "from conformal_plugin.files import MapStore\n"
        "os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)\n"
        "store = MapStore.open(sys.argv[1])\n"
        "store.write('a', np.zeros((6, 4, 4)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not opened(tmp_path).holds("a")
    with pytest.raises(SourceFileError, match="no map"):
        opened(tmp_path).ids()


def test_stores_of_version_one_stay_readable():
    """The fixture was written once, from generated scores, by the first release of the format."""
    with np.load(FIXTURE.parent / "store-v1-expected.npz") as expected:
        for precision in (11, 16):
            folder = FIXTURE / f"bits-{precision}"
            store = MapStore.open(folder)
            assert store.class_names == CLASSES
            for name in store.ids():
                assert store.holds(name)
                np.testing.assert_array_equal(store.read(name), expected[f"{precision}/{name}"])
            assert store.ids() == ("scene/0", "scene/1", "scene/2")
    assert {p.suffix for _, _, names in os.walk(FIXTURE) for p in map(Path, names)} == {
        ".cpmap",
        ".json",
    }
