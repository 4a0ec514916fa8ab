"""Id lists in every spelling users have, and ids that must not leave their folder."""

from __future__ import annotations

import os
import string
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from conformal_plugin.errors import SourceFileError
from conformal_plugin.files import Naming, find_files, ids_in_folder, photos_in_folder, read_ids

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


def write_list(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


SCENES = [
    f"images/scene{s}/{f}.jpg masks/scene{s}/{f}.png" for s in (1, 2, 3) for f in ("01", "02")
]


def test_photos_of_one_name_are_told_apart_by_their_folders(tmp_path):
    listed = read_ids(write_list(tmp_path / "l.txt", *SCENES))
    assert listed.ids == tuple(f"scene{s}/{f}" for s in (1, 2, 3) for f in ("01", "02"))
    assert listed.repeated == ()
    touch(*(tmp_path / "masks" / f"{name}.png" for name in listed))
    found = find_files(tmp_path / "masks", listed, [".png"], "label")
    assert found == [tmp_path / "masks" / f"{name}.png" for name in listed]


def test_one_folder_of_many_does_not_change_what_is_found(tmp_path):
    """The id is the path below the folder of the maps, whichever lines a list holds."""
    touch(*(tmp_path / "maps" / f"scene{s}" / f"{f}.npz" for s in (1, 2, 3) for f in ("01", "02")))
    listed = read_ids(write_list(tmp_path / "l.txt", *SCENES[:2]))
    assert listed.ids == ("01", "02")
    assert listed.below(tmp_path / "maps", [".npz"], "map").ids == ("scene1/01", "scene1/02")


def test_a_flat_folder_cannot_hold_photos_of_one_name(tmp_path):
    touch(tmp_path / "maps" / "01.npz", tmp_path / "maps" / "02.npz")
    listed = read_ids(write_list(tmp_path / "l.txt", *SCENES))
    with pytest.raises(SourceFileError, match=r"images/scene1/01\.jpg and images/scene2/01\.jpg"):
        listed.below(tmp_path / "maps", [".npz"], "map")
    with pytest.raises(SourceFileError, match="differ in the extension alone"):
        read_ids(write_list(tmp_path / "two.txt", "a/x.jpg m/x.png", "a/x.png m/x.png"))


def test_a_stray_file_higher_up_is_not_taken_for_a_photo_that_lacks_its_own(tmp_path):
    listed = read_ids(write_list(tmp_path / "l.txt", *SCENES[::2]))
    touch(tmp_path / "maps" / "scene1" / "01.npz", tmp_path / "maps" / "01.npz")
    with pytest.raises(SourceFileError, match=r"scene2/01\.jpg as 01, at another depth"):
        listed.below(tmp_path / "maps", [".npz"], "map")
    touch(tmp_path / "masks" / "scene1" / "01.png", tmp_path / "masks" / "01.png")
    with pytest.raises(SourceFileError, match=r"scene2/01\.png as 01, at another depth"):
        find_files(tmp_path / "masks", listed, [".png"], "label")


def test_one_mask_for_two_photos_is_refused(tmp_path):
    listed = read_ids(write_list(tmp_path / "l.txt", "a/x.jpg m/x.png", "a/y.jpg m/x.png"))
    touch(tmp_path / "m" / "x.png")
    with pytest.raises(SourceFileError, match=r"images x and y would both have the label"):
        find_files(tmp_path / "m", listed, [".png"], "label")


CITY = (
    "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png "
    "gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png"
)


@pytest.mark.parametrize(
    "stem", ["aachen/aachen_000000_000019_leftImg8bit", "aachen_000000_000019"]
)
def test_cityscapes_as_unimatch_lists_it(tmp_path, stem):
    listed = read_ids(write_list(tmp_path / "l.txt", CITY))
    photo, mask = (tmp_path / column for column in CITY.split())
    touch(photo, mask, tmp_path / "maps" / f"{stem}.npz")
    touch(mask.with_name("aachen_000000_000019_gtFine_labelIds.png"))
    ids = listed.below(tmp_path / "maps", [".npz"], "map")
    assert ids.ids == (stem,)
    for names in (ids, ids.ids):  # by the columns, and by the endings that are known
        if names is ids or "/" in stem:
            assert find_files(photo.parents[1], names, [".png"], "photo") == [photo]
            assert find_files(mask.parents[1], names, [".png"], "label") == [mask]
    if "/" in stem:
        assert listed.ids == (stem,)


def test_masks_that_end_otherwise_are_found_by_themselves_or_by_what_is_said(tmp_path):
    touch(tmp_path / "x.png", tmp_path / "x_mask.png", tmp_path / "y.png", tmp_path / "y_gt.png")
    assert photos_in_folder(tmp_path, [".png"]).ids == ("x", "y", "y_gt")
    named = Naming(label="_gt")
    assert photos_in_folder(tmp_path, [".png"], named).ids == ("x", "x_mask", "y")
    with pytest.raises(SourceFileError, match=r"id x has 2 labels in .*--label-suffix"):
        find_files(tmp_path, ["x"], [".png"], "label")
    (found,) = find_files(tmp_path, ["x"], [".png"], "label", Naming(label="_mask"))
    assert found.name == "x_mask.png"
    (found,) = find_files(tmp_path, ["y"], [".png"], "label", named)
    assert found.name == "y_gt.png"
    with pytest.raises(SourceFileError, match=r"no label in .*--label-suffix"):
        find_files(tmp_path, ["z"], [".png"], "label")
    with pytest.raises(SourceFileError, match=r"ends in '_photo'.*--photo-suffix"):
        photos_in_folder(tmp_path, [".png"], Naming(photo="_photo"))


def test_a_list_of_photos_alone(tmp_path):
    touch(tmp_path / "maps" / "sub" / "x.npz", tmp_path / "maps" / "y.jpg.npz")
    listed = read_ids(write_list(tmp_path / "l.txt", "img/sub/x.jpg", "img/y.jpg"))
    assert listed.ids == ("x", "y")
    assert listed.below(tmp_path / "maps", [".npz"], "map").ids == ("sub/x", "y.jpg")


@given(
    st.lists(IDS, min_size=1, max_size=6, unique=True), st.sampled_from(["", "root/", "../data/"])
)
def test_every_photo_of_a_folder_is_found_by_its_line(tmp_path_factory, names, root):
    """Whatever stands before the folder in the lines, and however deep the photos lie."""
    folder = tmp_path_factory.mktemp("photos")
    touch(*(folder / f"{name}.jpg" for name in names))
    listed = read_ids(
        write_list(folder / "l.txt", *(f"{root}img/{n}.jpg m/{n}.png" for n in names))
    )
    ids = listed.below(folder, [".jpg"], "photo")
    assert ids.ids == tuple(names)
    paths = find_files(folder, ids, [".jpg"], "photo")
    assert paths == [folder / f"{name}.jpg" for name in names]
    picked = ids.take([len(names) - 1])
    assert find_files(folder, picked, [".jpg"], "photo") == paths[-1:]


def test_a_mask_that_is_a_jpeg_is_named(tmp_path):
    touch(tmp_path / "x_mask.jpg")
    with pytest.raises(SourceFileError, match=r"There is x_mask\.jpg: masks are read from PNG"):
        find_files(tmp_path, ["x"], [".png"], "label")


def test_one_file_under_two_spellings_is_one(tmp_path):
    """As on a disk that does not tell capitals."""
    touch(tmp_path / "x.jpg")
    os.link(tmp_path / "x.jpg", tmp_path / "x.JPG")
    assert find_files(tmp_path, ["x"], [".jpg", ".JPG"], "photo") == [tmp_path / "x.jpg"]
