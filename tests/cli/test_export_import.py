"""Labels go to a tool, are changed there, come back, and are calibrated on."""

from __future__ import annotations

import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from conformal_plugin import Calibration, calibrate
from conformal_plugin.exchange import Sent
from conformal_plugin.exchange._label_studio_rle import packed
from conformal_plugin.files import label_files, map_files, read_label, write_label

HEIGHT, WIDTH = 6, 5
NAMES = ("background", "cat", "dog", "cow")


@pytest.fixture
def project(data, run, calibrated):
    """Photos, names, and a review: four drawn at random, the first three of the others."""
    photos = data.root / "photos"
    photos.mkdir()
    for name in data.ids:
        Image.new("RGB", (WIDTH, HEIGHT)).save(photos / f"{name}.jpg")
    (data.root / "names.txt").write_text("\n".join(NAMES) + "\n")
    images = ("--maps", data.maps, "--ids", data.list, "--calibration", calibrated)
    assert (
        run("review", *images, "--first", 3, "--calibrate-on", 4, "--out", data.root / "r").code
        == 0
    )
    assert run("filter", *images, "--out", data.root / "pseudo").code == 0
    data.drawn = (data.root / "r" / "for_calibration.txt").read_text().split()
    data.chosen = (data.root / "r" / "for_training.txt").read_text().split()
    return data


def export(data, out, ids, *more):
    return (
        "export", "--photos", data.root / "photos", "--names", data.root / "names.txt",
        "--ids", data.root / "r" / ids, "--out", data.root / out, *more,
    )  # fmt: skip


def brought_back(data, out, file, *more):
    return (
        "import",
        "--export",
        data.root / out,
        "--file",
        file,
        "--out",
        data.root / "mine",
        *more,
    )


def annotated(tasks, labels):
    """What a person submits in Label Studio who paints the true classes on every photo."""
    for task in tasks:
        truth = labels[task["data"]["id"]]
        names = (*NAMES[1:], "unsure")
        masks = {name: truth == value for name, value in zip(names, (1, 2, 3, 255))}
        result = [
            {
                "type": "brushlabels", "from_name": "label", "to_name": "image",
                "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0,
                "value": {"format": "rle", "rle": packed(mask), "brushlabels": [name]},
            }
            for name, mask in masks.items() if mask.any()
        ]  # fmt: skip
        task["annotations"] = [{"result": result, "was_cancelled": False}]
    return tasks


def truths(data):
    return {name: read_label(data.labels / f"{name}.png") for name in data.ids}


def test_the_whole_round_with_label_studio(project, run):
    """Drawn photos go out bare, are labelled there, come back and are calibrated on."""
    data, drawn = project, project.root / "r" / "for_calibration.txt"
    done = run(*export(data, "blank", "for_calibration.txt", "--blank", "--to", "label-studio",
                       "--prefix", "/data/?d="))  # fmt: skip
    assert done.code == 0, done.err
    tasks = json.loads((data.root / "blank" / "tasks.json").read_text())
    assert {task["data"]["image"] for task in tasks} == {f"/data/?d={n}.jpg" for n in data.drawn}
    assert not any("predictions" in task for task in tasks)
    file = data.root / "project.json"
    tasks = annotated(tasks, truths(data))
    # Three of four are done: nothing is to be calibrated on yet.
    file.write_text(json.dumps(tasks[:3]))
    done = run(*brought_back(data, "blank", file, "--drawn", drawn))
    assert done.code == 0, done.err
    assert "3 of the 4 photos that were drawn at random are back" in done.err
    assert not (data.root / "mine" / "for_calibration.txt").exists()
    file.write_text(json.dumps(tasks))
    done = run(*brought_back(data, "blank", file, "--drawn", drawn))
    assert done.code == 0, done.err
    assert "all 4 photos that were drawn at random" in done.out
    assert "(1 written, 0 as they were sent)" in done.out
    assert not done.err
    for name, truth in truths(data).items():
        if name in data.drawn:
            np.testing.assert_array_equal(read_label(data.root / "mine" / f"{name}.png"), truth)
    again = data.root / "again.json"
    done = run("calibrate", "--maps", data.maps, "--labels", data.root / "mine", "--alpha", 0.2,
               "--ids", data.root / "mine" / "for_calibration.txt", "-o", again)  # fmt: skip
    assert done.code == 0, done.err
    assert "chosen by their scores" not in done.err
    expected = calibrate(
        list(map_files(data.maps, data.drawn)),
        list(label_files(data.labels, data.drawn)),
        alpha=0.2,
    )
    assert Calibration.load(again).qhat == expected.qhat


def test_the_whole_round_with_cvat(project, run):
    """Chosen photos go out with their labels, are corrected, come back, and are never forgotten."""
    data = project
    done = run(*export(data, "cvat", "for_training.txt", "--labels", data.root / "pseudo",
                       "--to", "cvat"))  # fmt: skip
    assert done.code == 0, done.err
    first, second, third = data.chosen
    pseudo = {name: read_label(data.root / "pseudo" / f"{name}.png") for name in data.chosen}
    text = (data.root / "cvat" / "annotations.xml").read_text()
    before, marked = text, '<tag label="checked" source="manual"></tag></image>'
    images = re.split(r"(?=  <image )", text)
    # The first photo is all cat, the second what it was without its dropped pixels, both checked;
    # nobody got to the third.
    whole = f'<mask label="cat" rle="0, 30" left="0" top="0" width="{WIDTH}" height="{HEIGHT}"/>'
    images[1] = images[1].replace("</image>", f"{whole}{marked}")
    images[2] = re.sub(r'    <mask label="dropped".*\n', "", images[2]).replace("</image>", marked)
    text = "".join(images)
    assert text != before
    archive = data.root / "job.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("annotations.xml", text)
    done = run(*brought_back(data, "cvat", archive))
    assert done.code == 0, done.err
    assert "1 are not done" in done.out
    mine = data.root / "mine"
    assert (read_label(mine / f"{first}.png") == 1).all()
    second_label = np.where(pseudo[second] == 255, 0, pseudo[second])
    np.testing.assert_array_equal(read_label(mine / f"{second}.png"), second_label)
    assert not (mine / f"{third}.png").exists()
    assert (mine / "for_training.txt").read_text().split() == [first, second]
    done = run("calibrate", "--maps", data.maps, "--labels", mine, "--alpha", 0.4,
               "--ids", mine / "for_training.txt", "-o", data.root / "again.json")  # fmt: skip
    assert "2 of the photos were chosen by their scores" in " ".join(done.err.split())


def test_photos_with_dropped_pixels_left_are_not_done(project, run):
    data = project
    dropped = np.full((HEIGHT, WIDTH), 255, np.uint8)
    labels = data.root / "some"
    for name in data.chosen:
        write_label(labels / f"{name}.png", dropped if name == data.chosen[0] else dropped * 0 + 1)
    images = ("--labels", labels, "--to", "fiftyone")
    assert run(*export(data, "fo", "for_training.txt", *images)).code == 0
    masks, listed = data.root / "fo" / "labels", data.root / "r" / "for_training.txt"
    done = run(*brought_back(data, "fo", masks))
    assert done.code == 2
    assert "nothing in" in done.err
    done = run(*brought_back(data, "fo", masks, "--ids", listed))
    assert done.code == 0, done.err
    assert f"which nobody has decided: {data.chosen[0]}" in done.err
    assert "note: 2 photos came back as they were sent" in done.err
    done = run(*brought_back(data, "fo", masks, "--ids", listed, "--keep-undecided", "--json"))
    assert json.loads(done.out)["taken"] == 3
    # A random draw cannot leave out what is hard to decide.
    done = run(*brought_back(data, "fo", masks, "--ids", listed, "--drawn", listed,
                             "--keep-undecided"))  # fmt: skip
    assert "2 of the 3 photos that were drawn at random are back" in done.err
    assert "were sent with their labels" in done.err


def test_labels_that_are_there_are_not_lost(project, run):
    data = project
    images = ("--labels", data.root / "pseudo", "--to", "fiftyone")
    assert run(*export(data, "fo", "for_training.txt", *images)).code == 0
    masks = data.root / "fo" / "labels"
    name = data.chosen[0]
    write_label(data.root / "mine" / f"{name}.png", np.full((HEIGHT, WIDTH), 3, np.uint8))
    ids = ("--ids", data.root / "r" / "for_training.txt", "--keep-undecided")
    done = run(*brought_back(data, "fo", masks, *ids))
    assert done.code == 2
    assert f"differ from those that came back, {name} for one" in done.err
    assert (read_label(data.root / "mine" / f"{name}.png") == 3).all()
    assert run(*brought_back(data, "fo", masks, *ids, "--overwrite")).code == 0
    expected = read_label(data.root / "pseudo" / f"{name}.png")
    np.testing.assert_array_equal(read_label(data.root / "mine" / f"{name}.png"), expected)
    done = run(
        "import", "--export", data.root / "fo", "--file", masks, "--out", data.root / "pseudo"
    )
    assert done.code == 2
    assert "holds pseudo-labels that `filter` wrote" in done.err


def test_segmentation_masks_instead_of_the_xml(project, run):
    data = project
    images = ("--labels", data.root / "pseudo", "--to")
    assert run(*export(data, "xml", "for_training.txt", *images, "cvat")).code == 0
    assert run(*export(data, "masks", "for_training.txt", *images, "cvat-masks")).code == 0
    archive = data.root / "masks" / "segmentation_mask.zip"
    ids = data.root / "r" / "for_training.txt"
    more = ("--from", "cvat-masks", "--keep-undecided", "--ids")
    done = run(*brought_back(data, "xml", archive, *more, ids))
    assert done.code == 0, done.err
    strange = data.root / "strange.txt"
    strange.write_text("im9999\n")
    done = run(*brought_back(data, "xml", archive, *more, strange))
    assert done.code == 2
    assert "im9999 for one, were not in the export" in done.err
    smaller = data.root / "smaller.zip"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(smaller, "w") as new:
        for name in old.namelist():
            if data.chosen[0] not in name:
                new.writestr(name, old.read(name))
    done = run(*brought_back(data, "xml", smaller, *more, ids))
    assert done.code == 2
    assert f"{data.chosen[0]} for one, are not in" in done.err


def test_a_photo_that_comes_twice(project, run):
    data = project
    assert run(*export(data, "x", "for_training.txt", "--labels", data.root / "pseudo",
                       "--to", "cvat")).code == 0  # fmt: skip
    path = data.root / "x" / "annotations.xml"
    text = path.read_text()
    path.write_text(text.replace(f"{data.chosen[1]}.jpg", f"{data.chosen[0]}.jpg"))
    done = run(*brought_back(data, "x", path))
    assert done.code == 2
    assert "twice; export it from one task" in done.err


def test_what_export_refuses(project, run):
    data = project
    pseudo = ("--labels", data.root / "pseudo", "--to", "cvat")
    assert run(*export(data, "x", "for_training.txt", *pseudo)).code == 0
    done = run(*export(data, "x", "for_training.txt", *pseudo))
    assert done.code == 2
    assert "holds an export already" in done.err
    assert run(*export(data, "x", "for_training.txt", *pseudo, "--overwrite", "--json")).code == 0
    done = run("export", "--blank", "--photos", data.root / "photos", "--to", "cvat",
               "--names", data.root / "names.txt", "--out", data.root / "y")  # fmt: skip
    assert "--blank takes the photos of --ids" in done.err
    (data.root / "names.txt").write_text("none\ncat\ndog\ncow\n")
    done = run(*export(data, "y", "for_training.txt", *pseudo))
    assert done.code == 0, done.err  # as foreground-first made them
    assert Sent.read(data.root / "y").vocabulary.background == 0
    done = run(*export(data, "z", "for_training.txt", "--labels", data.labels, "--to", "cvat"))
    assert "no class of --names is called background" in done.err
    done = run(*export(data, "z", "for_training.txt", *pseudo, "--background", "none"))
    assert done.code == 0, done.err
    assert Sent.read(data.root / "z").vocabulary.background is None
    (data.root / "names.txt").write_text("background\ncat\n")
    done = run(*export(data, "w", "for_training.txt", *pseudo))
    assert "--names has 2 classes; name all of them" in done.err
    write_label(data.root / "pseudo" / f"{data.chosen[0]}.png", np.zeros((3, 3), np.uint8))
    done = run(*export(data, "v", "for_training.txt", *pseudo))
    assert "labels of photos, of their size" in done.err


def test_photos_that_tools_turn(project, run):
    data = project
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in data.chosen:
        Image.new("RGB", (WIDTH, HEIGHT)).save(data.root / "photos" / f"{name}.jpg", exif=exif)
    pseudo = ("--labels", data.root / "pseudo", "--to", "cvat")
    done = run(*export(data, "x", "for_training.txt", *pseudo))
    assert done.code == 2
    assert "which annotation tools do and the labels do not" in done.err
    done = run(*export(data, "y", "for_training.txt", "--blank", "--to", "cvat", "--follow-exif"))
    assert done.code == 0, done.err
    assert {photo.size for photo in Sent.read(data.root / "y").photos} == {(WIDTH, HEIGHT)}


def test_a_draw_that_comes_back_in_two_jobs(project, run):
    data, drawn = project, project.root / "r" / "for_calibration.txt"
    assert (
        run(*export(data, "blank", "for_calibration.txt", "--blank", "--to", "label-studio")).code
        == 0
    )
    tasks = annotated(json.loads((data.root / "blank" / "tasks.json").read_text()), truths(data))
    for number, part in enumerate((tasks[:2], tasks[2:])):
        file = data.root / f"{number}.json"
        file.write_text(json.dumps(part))
        done = run(*brought_back(data, "blank", file, "--drawn", drawn))
        assert done.code == 0, done.err
    mine = data.root / "mine"
    assert (mine / "for_calibration.txt").read_text().split() == data.drawn
    assert sorted((mine / "imported.txt").read_text().split()) == sorted(data.drawn)
    assert not (mine / "for_training.txt").exists()
    # Photos that are not said to be drawn are taken for chosen ones.
    done = run(*brought_back(data, "blank", file))
    assert "chosen, and are like no others" in " ".join(done.out.split())
