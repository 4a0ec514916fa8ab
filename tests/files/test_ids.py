"""Id lists in every spelling users have, and ids that must not leave their folder."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from conformal_plugin.errors import SourceFileError
from conformal_plugin.files import find_files, ids_in_folder, read_ids

PARTS = st.text(string.ascii_letters + string.digits + "_-é", min_size=1, max_size=6)
IDS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@given(st.lists(IDS, min_size=1, max_size=8), st.sampled_from(["\n", "\r\n", "\n\n", "  \n \n"]))
def test_lists_are_read_back_each_id_once(tmp_path_factory, names, ending):
    path = tmp_path_factory.mktemp("ids") / "list.txt"
    path.write_bytes(ending.join(names).encode("utf-8"))
    listed = read_ids(path)
    assert listed.ids == tuple(dict.fromkeys(names))
    assert set(listed.repeated) == {name for name in names if names.count(name) > 1}


def test_lines_of_training_code_give_the_stem(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(
        "JPEGImages/2007_000039.jpg SegmentationClass/2007_000039.png\r\n"
        "leftImg8bit/aachen_1.v2.PNG gtFine/aachen_1.png\n"
        "two words\n"
        "a//./b\n",
        encoding="utf-8-sig",
    )
    assert read_ids(path).ids == ("2007_000039", "aachen_1.v2", "two words", "a/b")


def test_an_id_in_both_spellings_is_counted_once(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("x\nJPEGImages/x.jpg SegmentationClass/x.png\ny\n", encoding="utf-8")
    assert read_ids(path).ids == ("x", "y")
    assert read_ids(path).repeated == ("x",)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a\\..\\x", "C:\\x", ".", "a\0b"])
def test_ids_that_leave_their_folder_are_refused(tmp_path, name):
    path = tmp_path / "list.txt"
    path.write_text(f"fine\n{name}\n", encoding="utf-8")
    with pytest.raises(SourceFileError, match=r"line 2 of .*list\.txt.*stays inside its folder"):
        read_ids(path)
    with pytest.raises(SourceFileError, match="stays inside its folder"):
        find_files(tmp_path, [name], [".npz"], "map")


def test_lists_that_cannot_be_read(tmp_path):
    with pytest.raises(SourceFileError, match="cannot read the id list .*one id a line"):
        read_ids(tmp_path / "none.txt")
    path = tmp_path / "list.txt"
    path.write_bytes(b"\n \r\n")
    with pytest.raises(SourceFileError, match="holds no id"):
        read_ids(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceFileError, match="not UTF-8"):
        read_ids(path)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_folder_lists_its_files(tmp_path):
    touch(tmp_path / "b.npz", tmp_path / "sub" / "a.v2.npy", tmp_path / ".c.npz.tmp")
    touch(tmp_path / ".hidden" / "d.npz", tmp_path / "notes.txt")
    assert ids_in_folder(tmp_path, [".npz", ".npy"]).ids == ("b", "sub/a.v2")
    with pytest.raises(SourceFileError, match=r"there is no map \(\.pt\) in"):
        ids_in_folder(tmp_path, [".pt"], "map")
    with pytest.raises(SourceFileError, match="is not a folder"):
        ids_in_folder(tmp_path / "none", [".pt"], "map")


def test_all_missing_files_are_counted_and_the_first_named(tmp_path):
    touch(tmp_path / "a.npz")
    names = ["a", *(f"m{i}" for i in range(7))]
    with pytest.raises(
        SourceFileError, match=r"7 of 8 ids have no map .*m0, m1, m2, m3, m4, \.\.\."
    ):
        find_files(tmp_path, names, [".npz", ".npy"], "map")


def test_two_files_for_one_id_are_refused(tmp_path):
    touch(tmp_path / "a.npz", tmp_path / "a.npy")
    with pytest.raises(SourceFileError, match=r"id a has 2 maps in .*a\.npz, a\.npy; keep one"):
        find_files(tmp_path, ["a"], [".npz", ".npy"], "map")
