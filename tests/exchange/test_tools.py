"""Every tool's format: what is written is read back the same, and what is odd is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from conformal_plugin._choices import TOOLS
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.exchange import Sent, Vocabulary, read_returned, write_export
from conformal_plugin.exchange._label_studio_rle import packed, unpacked
from conformal_plugin.exchange._runs import mask_of_runs, runs_of_mask


def sent_to(tool, folder, vocabulary, sheets) -> tuple[Path, Sent]:
    written = write_export(folder, tool, vocabulary, iter(sheets))
    return written[0], Sent.read(folder)


def submit(path: Path) -> None:
    """Make annotations of predictions, as people do who find nothing to mend."""
    tasks = json.loads(path.read_text())
    for task in tasks:
        (prediction,) = task.pop("predictions")
        task["annotations"] = [{"result": prediction["result"], "was_cancelled": False}]
    path.write_text(json.dumps(tasks))


def test_an_encoding_that_nobody_knows_is_no_other_error(tmp_path, vocabulary, sheets):
    path, sent = sent_to("cvat", tmp_path / "out", vocabulary, sheets)
    whole = [one.composed.labels.tobytes() for one in read_returned(path, sent)]
    path.write_bytes(path.read_bytes().replace(b'encoding="utf-8"', b'encoding="utx-8"'))
    assert [one.composed.labels.tobytes() for one in read_returned(path, sent)] == whole
    path.write_bytes(path.read_bytes().replace(b"<annotations>", b"<annotations>\xff"))
    with pytest.raises(SourceFileError):
        list(read_returned(path, sent))


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_written_comes_back(tool, tmp_path, vocabulary, sheets):
    path, sent = sent_to(tool, tmp_path / "out", vocabulary, sheets)
    assert sent == Sent(tool, vocabulary, tuple(sheet.photo for sheet in sheets))
    if tool == "label-studio":
        submit(path)
    back = {one.photo.name: one for one in read_returned(path, sent)}
    assert set(back) == {sheet.photo.name for sheet in sheets}
    for sheet in sheets:
        one = back[sheet.photo.name]
        np.testing.assert_array_equal(one.composed.labels, sheet.labels)
        assert one.composed.undecided == (sheet.labels == 255).sum()
        assert one.marked == (tool == "label-studio")


@pytest.mark.parametrize("tool", TOOLS)
def test_photos_sent_bare(tool, tmp_path, vocabulary, sheets):
    bare = [type(sheet)(sheet.photo, sheet.path, None) for sheet in sheets]
    path, sent = sent_to(tool, tmp_path / "out", vocabulary, bare)
    if tool == "fiftyone":  # no mask, no folder of masks
        assert not path.exists()
        return
    back = list(read_returned(path, sent))
    # CVAT's XML names every photo; the others only those with masks.
    assert len(back) == (3 if tool == "cvat" else 0)
    assert all((one.composed.labels == 0).all() for one in back)


masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: st.lists(
        st.booleans(), min_size=size[0] * size[1], max_size=size[0] * size[1]
    ).map(lambda values: np.array(values).reshape(size))
)


@given(masks)
def test_runs_and_label_studios_bits(mask):
    runs = runs_of_mask(mask)
    assert runs.sum() == mask.size
    np.testing.assert_array_equal(mask_of_runs(runs, mask.shape), mask)
    np.testing.assert_array_equal(unpacked(packed(mask), mask.shape), mask)


def test_runs_longer_than_label_studio_can_say():
    mask = np.zeros((300, 400), bool)
    mask[:, :130] = True
    mask[250:] = True
    np.testing.assert_array_equal(unpacked(packed(mask), mask.shape), mask)
    np.testing.assert_array_equal(unpacked(packed(~mask & False), mask.shape), ~mask & False)


def test_values_that_are_not_repeated():
    # Of 2 x 1 pixels: eight values of eight bits each, one after the other.
    header = f"{8:032b}{7:05b}" + "".join(f"{bits - 1:04b}" for bits in (3, 4, 8, 16))
    values = "".join(f"{value:08b}" for value in (0, 0, 0, 255, 9, 9, 9, 127))
    bits = f"{header}000{7:03b}{values}"
    bits += "0" * (-len(bits) % 8)
    content = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert unpacked(content, (1, 2)).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "ends too early"),
        (packed(np.ones((2, 2), bool)), "pixels have 4 each"),
        (packed(np.ones((3, 2), bool))[:-1], "ends too early"),
        ([*packed(np.ones((3, 2), bool))[:-3], 255, 255, 255, 255, 255], "longer than"),
        ([1000], "bytes must be in range"),
    ],
)
def test_bits_that_are_no_mask(content, message):
    with pytest.raises(ValueError, match=message):
        unpacked(content, (3, 2))


def test_photos_by_the_names_that_tools_give_them(tmp_path, vocabulary, sheets):
    _, sent = sent_to("cvat", tmp_path / "out", vocabulary, sheets)
    for file in ("sub/b.c.jpg", "sub\\b.c.png", "uploads/b.c.jpg"):
        assert sent.named(file).name == "sub/b.c"
    for file in ("", "d.jpg", "b.d"):
        with pytest.raises(SourceFileError, match="none of the 3 of this export"):
            sent.named(file)


def test_a_name_that_two_photos_have(tmp_path, vocabulary, sheets):
    twice = [sheets[0], type(sheets[0])(sheets[1].photo.__class__("x/a", "x/a.jpg", 37, 53, None),
             sheets[1].path, sheets[1].labels)]  # fmt: skip
    _, sent = sent_to("cvat", tmp_path / "out", vocabulary, twice)
    assert sent.named("x/a.png").name == "x/a"
    with pytest.raises(SourceFileError, match="several of the 2"):
        sent.named("elsewhere/a.png")


def test_no_export(tmp_path):
    with pytest.raises(SourceFileError, match="name the folder that `conformal-plugin export`"):
        Sent.read(tmp_path)
    (tmp_path / "sent.json").write_text('{"format": "another"}')
    with pytest.raises(SourceFileError, match="cannot read"):
        Sent.read(tmp_path)


def test_a_damaged_record_of_what_was_sent(tmp_path, vocabulary, sheets):
    folder = tmp_path / "out"
    _, sent = sent_to("cvat", folder, vocabulary, sheets)
    record = folder / "sent.json"
    text = record.read_text()
    record.write_text(text.replace('"background": 0', '"background": 1'))
    with pytest.raises(SourceFileError, match="do not fit its checksum"):
        Sent.read(folder)
    record.write_text(text.replace('"checksum": "', '"checkrum": "'))
    with pytest.raises(SourceFileError, match="no checksum"):
        Sent.read(folder)
    record.write_text(text)
    assert Sent.read(folder) == sent


XML = """<annotations><image id="0" name="a.jpg" width="53" height="37">{}</image></annotations>"""
MASK = '<mask label="cat" rle="{}" left="0" top="0" width="2" height="1" z_order="{}"/>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no element found"),
        ("<html></html>", "it begins with <html>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "declares a document type"),
        ("<annotations><track id='0' label='cat'/></annotations>", "tracks of a video"),
        (XML.format("<polyline label='cat' points='0,0;1,1'/>"), "has a polyline, and masks, poly"),
        (XML.format("<polygon label='cat'/>"), "a polygon of a.jpg: it lacks its points"),
        (XML.format("<polygon label='cat' points='0,0;1,x;2,2'/>"), "could not convert"),
        (XML.format("<polygon label='cat' points='0,0;1,nan;2,2'/>"), "far from the photo"),
        (XML.format("<polygon label='cat' points='0,0,1;1,2,2'/>"), "its points are no pairs"),
        (XML.format("<polygon label='cat' points='0,0;1;2,2'/>"), "its points are no pairs"),
        (
            XML.format("<box label='cat' xtl='0' ytl='0' xbr='1'/>"),
            "a box of a.jpg: it lacks",
        ),
        (XML.format(MASK.format("1,2", 0)), "do not fill 2 x 1"),
        (XML.format(MASK.format("1,one", 0)), "a mask of a.jpg"),
        (XML.format(MASK.format("1,1", "x")), "z_order is no whole number"),
        (
            XML.format(MASK.replace("cat", "cow").format("0,2", 0)),
            "the label 'cow', and the labels",
        ),
        (XML.format(MASK.replace('left="0"', 'left="52"').format("0,2", 0)), "leaves the photo"),
        (XML.format(MASK.replace(' top="0"', "").format("0,2", 0)), "top is no whole number"),
        (XML.format("<mask/>"), "lacks its label"),
        (XML.replace("53", "54").format(""), "54 x 37 pixels"),
        (XML.replace("a.jpg", "d.jpg").format(""), "the photo d.jpg, which is none"),
    ],
)
def test_xml_that_is_not_cvats(tmp_path, vocabulary, sheets, text, message):
    _, sent = sent_to("cvat", tmp_path / "out", vocabulary, sheets)
    path = tmp_path / "annotations.xml"
    path.write_text(text)
    with pytest.raises(SourceFileError, match=message):
        list(read_returned(path, sent))


def test_marks_and_heights_of_cvat(tmp_path, vocabulary, sheets):
    _, sent = sent_to("cvat", tmp_path / "out", vocabulary, sheets)
    dog = MASK.replace("cat", "dog &quot;x&quot; &amp; &lt;y>")
    body = dog.format("0,2", 1) + MASK.format("0,2", 0) + '<tag label="checked"/>'
    archive = tmp_path / "job.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("annotations.xml", XML.format(body))
    (one,) = read_returned(archive, sent)
    assert one.marked
    assert one.composed.labels[0, :3].tolist() == [2, 2, 0]


SQUARE = '<polygon label="{}" points="10.00,20.00;20.00,20.00;20.00,30.00;10.00,30.00"/>'
BOX = '<box label="cat" xtl="10" ytl="20" xbr="20" ybr="24" rotation="{}" z_order="1"/>'


def test_polygons_and_boxes_of_cvat(tmp_path, vocabulary, sheets):
    _, sent = sent_to("cvat", tmp_path / "out", vocabulary, sheets)
    path = tmp_path / "annotations.xml"
    path.write_text(XML.format(BOX.format("90.00") + SQUARE.format("dropped")))
    (one,) = read_returned(path, sent)
    found = one.composed.labels
    expected = np.zeros_like(found)
    expected[20:30, 10:20] = 255
    expected[17:27, 13:17] = 1  # the box on its end, above what is dropped
    np.testing.assert_array_equal(found, expected)
    assert one.composed.undecided == 100 - 7 * 4


def test_archives_without_what_is_needed(tmp_path, vocabulary, sheets):
    _, sent = sent_to("cvat", tmp_path / "out", vocabulary, sheets)
    archive = tmp_path / "job.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("other.xml", "")
    with pytest.raises(SourceFileError, match="holds 0 files called annotations.xml"):
        list(read_returned(archive, sent))
    with pytest.raises(SourceFileError, match="holds 0 files labelmap.txt"):
        list(read_returned(archive, sent, "cvat-masks"))
    with pytest.raises(SourceFileError, match="cannot read the file"):
        list(read_returned(tmp_path / "missing.zip", sent))


def test_masks_of_cvat_in_its_own_colours_and_a_folder(tmp_path, vocabulary, sheets):
    """A task's labels may have other colours than those that were proposed."""
    path, sent = sent_to("cvat-masks", tmp_path / "out", vocabulary, sheets)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked" / "task")
    folder = tmp_path / "unpacked"
    listed = folder / "task" / "labelmap.txt"
    back = {one.photo.name: one.composed.labels for one in read_returned(folder, sent)}
    np.testing.assert_array_equal(back["a"], sheets[0].labels)
    lines = listed.read_text().splitlines()
    listed.write_text("\n".join([*lines, "cow:9,9,9::"]))
    with pytest.raises(SourceFileError, match="has the label 'cow'"):
        list(read_returned(folder, sent))
    listed.write_text("\n".join(line for line in lines if not line.startswith("cat")))
    with pytest.raises(SourceFileError, match=r"SegmentationClass/a.png"):
        list(read_returned(folder, sent))
    listed.write_text("cat:1,2")
    with pytest.raises(SourceFileError, match="cannot read labelmap.txt"):
        list(read_returned(folder, sent))


@pytest.mark.parametrize("name", ["a:b", "#a", " a"])
def test_names_that_cvats_masks_cannot_hold(tmp_path, sheets, name):
    with pytest.raises(OptionError, match="separates by colons"):
        write_export(tmp_path, "cvat-masks", Vocabulary(("background", name, "c"), 0), sheets)


def test_a_background_of_cvats_own(tmp_path, sheets):
    with pytest.raises(OptionError, match="keeps 'background'"):
        write_export(tmp_path, "cvat-masks", Vocabulary(("background", "b", "c"), 1), sheets)


def region(**changes):
    found = {
        "type": "brushlabels",
        "original_width": 53,
        "original_height": 37,
        "image_rotation": 0,
        "value": {"brushlabels": ["cat"], "rle": packed(np.ones((37, 53), bool))},
    }
    return {**found, **changes}


def of(*regions, **more):
    return [{"data": {"file": "a.jpg"}, "annotations": [{"result": [*regions], **more}]}]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({}, "no list of tasks"),
        ([1], "a task: TypeError"),
        ([{"data": {}}], "a task: KeyError"),
        (of({"type": "polygonlabels"}), "a region of the type polygonlabels"),
        (of(region(original_width=54)), "a mask of 54 x 37"),
        (of(region(image_rotation=90)), "turned by 90 degrees"),
        (of(region(value={"rle": []})), "has one of cat"),
        (of(region(value={"brushlabels": ["cow"], "rle": []})), "has one of cat"),
        (of(region(value={"brushlabels": ["cat"], "rle": [1]})), "ends too early"),
        (of(region(value={"brushlabels": ["cat"], "rle": "no"})), "a task: TypeError"),
    ],
)
def test_json_that_is_not_label_studios(tmp_path, vocabulary, sheets, tasks, message):
    _, sent = sent_to("label-studio", tmp_path / "out", vocabulary, sheets)
    path = tmp_path / "project.json"
    path.write_text(json.dumps(tasks))
    with pytest.raises(SourceFileError, match=message):
        list(read_returned(path, sent))


def test_which_annotation_of_label_studio_counts(tmp_path, vocabulary, sheets):
    path, sent = sent_to("label-studio", tmp_path / "out", vocabulary, sheets)
    assert list(read_returned(path, sent)) == []  # predictions alone: nobody has looked
    (cat,) = of(region(), {"type": "choices"}, updated_at="2026-01-02")
    cat["annotations"] += of(updated_at="2026-01-01")[0]["annotations"]
    cat["annotations"] += of(updated_at="2026-01-03", was_cancelled=True)[0]["annotations"]
    path.write_text(json.dumps([cat]))
    (one,) = read_returned(path, sent)
    assert one.marked
    assert (one.composed.labels == 1).all()
    path.write_text("[")
    with pytest.raises(SourceFileError, match="cannot read"):
        list(read_returned(path, sent))


def test_masks_of_fiftyone_that_do_not_fit(tmp_path, vocabulary, sheets):
    from conformal_plugin.files import write_label

    path, sent = sent_to("fiftyone", tmp_path / "out", vocabulary, sheets)
    write_label(path / "a.png", np.full((37, 53), 9, np.uint8), grey=8)
    with pytest.raises(SourceFileError, match="see mask_targets.json"):
        list(read_returned(path.parent, sent))
    write_label(path / "a.png", np.zeros((3, 3), np.uint8), grey=8)
    with pytest.raises(SourceFileError, match="3 x 3 pixels"):
        list(read_returned(path.parent, sent))


def test_more_labels_than_eight_bits_hold_in_fiftyone(tmp_path, sheets):
    vocabulary = Vocabulary(tuple(f"class {c}" for c in range(300)), 0, ignore_index=999)
    labels = sheets[0].labels.astype(np.int32)
    labels[labels == 1], labels[labels == 255] = 290, 999
    sheet = type(sheets[0])(sheets[0].photo, sheets[0].path, labels)
    path, sent = sent_to("fiftyone", tmp_path / "out", vocabulary, [sheet])
    (one,) = read_returned(path, sent)
    np.testing.assert_array_equal(one.composed.labels, labels)


def test_no_such_tool(tmp_path, vocabulary, sheets):
    with pytest.raises(OptionError, match="labels go to one of cvat"):
        write_export(tmp_path, "paint", vocabulary, sheets)
    _, sent = sent_to("cvat", tmp_path / "out", vocabulary, sheets)
    with pytest.raises(OptionError, match="labels come from one of cvat"):
        list(read_returned(tmp_path, sent, "paint"))
