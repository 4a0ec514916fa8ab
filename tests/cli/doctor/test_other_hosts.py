"""The doctor with hosts of other kinds: work by hand, one-column lists, A/B folders, grey masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformal_plugin.adapters.patching import known_recipes
from conformal_plugin.doctor import Case, all_checks, diagnose
from conformal_plugin.doctor._by_hand import read_by_hand
from conformal_plugin.doctor._host_reading import HostReading
from conformal_plugin.files import write_label

NAMES = [f"train_{i}.png" for i in range(10)]

CHANGE_DETECTION = """
import os
import numpy as np
from PIL import Image

class Data:
    def __getitem__(self, item):
        id = self.ids[item]
        imgA = Image.open(os.path.join(self.root, 'A', id)).convert('RGB')
        imgB = Image.open(os.path.join(self.root, 'B', id)).convert('RGB')
        mask = np.array(Image.open(os.path.join(self.root, 'label', id)))
        mask = mask / 255
        return imgA, imgB, mask
"""

TWO_COLUMNS = """
import os
from PIL import Image

def read(root, id):
    img = Image.open(os.path.join(root, id.split(' ')[0])).convert('RGB')
    mask = Image.open(os.path.join(root, id.split(' ')[1])){how}
    return img, mask
"""


def make_host(root: Path, reader: str) -> Path:
    """A host whose script is none that is known, with a reader of its own in a folder."""
    host = root / "host"
    (host / "dataset").mkdir(parents=True)
    (host / "train.py").write_text("from dataset.semi import Data\n")
    (host / "dataset" / "semi.py").write_text(reader)
    return host


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5)).save(path)


@pytest.fixture
def examine(tmp_path):
    """``examine(host, labelled, unlabelled)``: findings by the name of their check."""

    def run(host, labelled, unlabelled=("none.png",), **cfg):
        lists = {}
        for name, lines in (("labelled", labelled), ("unlabelled", unlabelled)):
            lists[name] = tmp_path / f"{name}.txt"
            lists[name].write_text("".join(f"{line}\n" for line in lines))
        case = Case(
            host=host,
            cfg={"nclass": 2, "epochs": 2, "data_root": str(tmp_path / "data"), **cfg},
            recipes=known_recipes(),
            labelled_list=lists["labelled"],
            unlabelled_list=lists["unlabelled"],
        )
        found = {}
        for one in diagnose(case, all_checks()):
            found.setdefault(one.check, []).append(one)
        return found

    return run


# Work by hand.

ALL = """
from conformal_plugin.adapters.unimatch import UniMatchLoop as Loop
def main():
    conformal = Loop(cfg, criterion_u)
    trainset_u = conformal.align(trainset_u)
    for epoch in range(3):
        for batch in conformal.watch(zip(a, b), epoch):
            loss = conformal(loss, pred)
"""


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        (ALL, ()),
        (ALL.replace("loss = conformal(loss, pred)", "m = conformal.source(c, m)"), ()),
        (ALL.replace("conformal.align(trainset_u)", "trainset_u"), ("conformal.align(...)",)),
        (
            ALL.replace("conformal.watch(zip(a, b), epoch)", "zip(a, b)"),
            ("conformal.watch(...)",),
        ),
        (ALL.replace("conformal(loss, pred)", "loss"), ("conformal(losses, preds)",)),
    ],
)
def test_a_loop_put_in_by_hand(source: str, missing: tuple[str, ...]) -> None:
    found = read_by_hand(source.encode())
    assert found is not None
    assert (found.used, found.missing) == ("Loop", missing)


def test_a_supervision_put_in_by_hand() -> None:
    source = (
        "from conformal_plugin import ConformalSupervision, TwoStage\n"
        "class Trainer:\n"
        "    def __init__(self):\n"
        "        self.supervise = ConformalSupervision(ce, schedule=TwoStage(3, 4))\n"
        "    def step(self):\n"
        "        return self.supervise(logits, pseudo, epoch=self.epoch)\n"
    )
    found = read_by_hand(source.encode())
    assert found is not None
    assert (found.used, found.missing) == ("ConformalSupervision", ())
    never = read_by_hand(source.replace("self.supervise(logits", "self.other(logits").encode())
    assert never is not None
    assert never.missing == ("supervise(logits, pseudo, epoch=epoch)",)


@pytest.mark.parametrize(
    "source",
    ["def (", "import conformal_plugin\n", "from conformal_plugin import filter\nx = filter(m, 1)"],
)
def test_what_makes_no_object_is_no_work_by_hand(source: str) -> None:
    assert read_by_hand(source.encode()) is None


@pytest.mark.parametrize("right", [True, False])
def test_the_doctor_accepts_work_by_hand(tmp_path, examine, right) -> None:
    host = make_host(tmp_path, CHANGE_DETECTION)
    source = ALL if right else ALL.replace("conformal.align(trainset_u)", "trainset_u")
    (host / "unimatch.py").write_text(source)  # the patch cannot be placed in it
    (found,) = examine(host, NAMES)["scripts are patched"]
    if right:
        assert found.level == "ok"
        assert "unimatch.py uses Loop, put in by hand, and calls all" in found.text
    else:
        assert found.level == "error"
        assert "never calls conformal.align(...)" in found.text


BY_ITSELF = """
from conformal_plugin import ConformalSupervision, TwoStage
def main(cfg):
    supervise = ConformalSupervision(criterion, schedule=TwoStage(2, cfg["trainer"]["epochs"]))
    for step in range(9):
        supervise(pred, pseudo, epoch=0)
"""


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_config_of_another_layout_is_the_scripts_own(tmp_path, by_hand) -> None:
    (tmp_path / "train_semi.py").write_text(BY_ITSELF if by_hand else CHANGE_DETECTION)
    case = Case(
        host=tmp_path,
        cfg={"dataset": {"type": "pascal_semi"}, "trainer": {"epochs": 80}},
        recipes=known_recipes(),
        script_names=["train_semi.py"],
    )
    found = diagnose(case, all_checks())
    errors = {one.check for one in found if one.level == "error"}
    if by_hand:
        assert not errors
        texts = [one.text for one in found if one.level != "ok"]
        for key in ("nclass", "data_root", "conformal"):
            told = f"the config has no {key}, which is left to the script's own lines"
            assert any(told in text for text in texts)
    else:
        assert {"data root", "options for conformal labels"} <= errors


# Lists of one column.


def test_a_list_of_change_detection(tmp_path, examine) -> None:
    for name in NAMES:
        for folder in "AB":
            photo(tmp_path / "data" / folder / name)
        mask = np.zeros((5, 6), np.uint8)
        mask[0] = 255
        write_label(tmp_path / "data" / "label" / name, mask)
    host = make_host(tmp_path, CHANGE_DETECTION)
    found = examine(host, NAMES[:6], NAMES[6:])
    assert [f.text for f in found["labelled list"]] == [
        "the labelled list has 6 photos, in one column"
    ]
    assert [f.text for f in found["labelled files"]] == [
        "all 12 labelled photos are there",
        "all 6 labelled masks are there",
    ]
    assert [f.level for f in found["unlabelled files"]] == ["ok", "ok"]
    # Divided by 255, as the host does, they are classes 0 and 1.
    assert [f.level for f in found["true masks hold classes"]] == ["ok"]
    (tmp_path / "data" / "B" / NAMES[2]).unlink()
    missing, _ = examine(host, NAMES[:6])["labelled files"]
    assert missing.level == "error"
    assert missing.text.endswith(f"B/{NAMES[2]}")


def test_one_column_that_is_the_photos_path(tmp_path, examine) -> None:
    for name in NAMES:
        photo(tmp_path / "data" / "images" / name)
    host = make_host(tmp_path, "from PIL import Image\nImage.open(path)\n")
    found = examine(host, [f"images/{name}" for name in NAMES])
    assert [f.level for f in found["labelled list"]] == ["ok"]
    assert [f.text for f in found["labelled files"]] == ["all 10 labelled photos are there"]
    assert [f.level for f in found["true masks hold classes"]] == ["not made"]


NAMES_ALONE = """
from PIL import Image

def samples(list_file):
    if "citys" in list_file:
        return [["left/{}.png".format(line), "gtFine/{}.png".format(line)] for line in open(p)]
    return [
        ["JPEGImages/{}.jpg".format(line.strip()), "SegmentationClass/{}.png".format(line.strip())]
        for line in open(list_file)
    ]

def load(path, mode):
    return Image.open(path).convert(mode)
"""


def test_one_column_of_names_that_the_host_completes(tmp_path, examine) -> None:
    for i in range(3):
        photo(tmp_path / "data" / "JPEGImages" / f"{i}.jpg")
        mask = np.full((5, 6), i, np.uint8)
        write_label(tmp_path / "data" / "SegmentationClass" / f"{i}.png", mask)
    found = examine(make_host(tmp_path, NAMES_ALONE), ["0", "1", "2"], nclass=3)
    assert [f.text for f in found["labelled files"]] == [
        "all 3 labelled photos are there",
        "all 3 labelled masks are there",
    ]
    assert [f.level for f in found["true masks hold classes"]] == ["ok"]
    found = examine(make_host(tmp_path / "again", NAMES_ALONE), ["0", "7"], nclass=3)
    photos, masks = found["labelled files"]
    assert (photos.level, masks.level) == ("error", "error")
    assert photos.text.endswith("JPEGImages/7.jpg")


def test_one_column_of_names_alone(tmp_path, examine) -> None:
    (tmp_path / "data").mkdir()
    host = make_host(tmp_path, "from PIL import Image\nImage.open(path)\n")
    found = examine(host, ["2007_000032", "2007_000039"])
    assert [f.level for f in found["labelled list"]] == ["ok"]
    (lacking,) = found["labelled files"]
    assert lacking.level == "not made"
    assert "one column, and how the host finds a photo from it is not known" in lacking.text


def test_one_column_where_the_host_takes_two(tmp_path, examine) -> None:
    host = make_host(tmp_path, TWO_COLUMNS.format(how=""))
    (found,) = examine(host, NAMES)["labelled list"]
    assert found.level == "error"
    assert "10 lines of the labelled list are not IMAGE MASK" in found.text


def test_lines_of_both_kinds(tmp_path, examine) -> None:
    host = make_host(tmp_path, CHANGE_DETECTION)
    (found,) = examine(host, [*NAMES[:3], "a.png b.png"])["labelled list"]
    assert found.level == "error"
    assert "3 lines of the labelled list" in found.text


# Masks that are read as brightness.


@pytest.mark.parametrize("how", [".convert('L')", ".convert('RGB')", ""])
@pytest.mark.parametrize("grey", [True, False])
def test_masks_read_as_brightness(tmp_path, examine, how, grey) -> None:
    for name in NAMES:
        photo(tmp_path / "data" / "images" / name)
        mask = np.full((5, 6), 8, np.uint8)
        write_label(tmp_path / "data" / "masks" / name, mask, grey=8 if grey else None)
    host = make_host(tmp_path, TWO_COLUMNS.format(how=how))
    lines = [f"images/{name} masks/{name}" for name in NAMES]
    found = examine(host, lines[:4], lines[4:], nclass=9)
    says = found.get("masks that are read as brightness")
    if "'L'" not in how:
        assert says is None
    elif grey:
        assert [f.level for f in says] == ["ok"]
    else:
        error, warning = says
        assert (error.level, warning.level) == ("error", "warning")
        assert "dataset/semi.py, line 7" in error.text
        assert "4 labelled masks have a palette: class 8 becomes 19: train_0.png" in error.text
        assert "filter --grey" in error.remedy
        assert "6 masks of the unlabelled list" in warning.text


# What is read of a host's code.


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("mask = Image.open(p).convert('L')", True),
        ("label = self.img_loader(path, 'L')", True),
        ("gt = np.array(Image.open(p).convert('L'))", True),
        ("mask = Image.fromarray(np.array(Image.open(p))).convert('L')", False),
        ("mask = Image.new('L', size, 0)", False),
        ("img = Image.open(p).convert('L')", False),
        ("mask = Image.open(p)", False),
    ],
)
def test_which_lines_read_brightness(tmp_path, line: str, found: bool) -> None:
    (tmp_path / "script.py").write_text(line + "\n")
    assert bool(HostReading.of(tmp_path, [tmp_path / "script.py"]).conversions) == found


def test_what_a_script_does_not_import_says_nothing(tmp_path) -> None:
    """A sub-folder with another host in it, as in UniMatch-V2."""
    make_host(tmp_path, TWO_COLUMNS.format(how=""))
    other = make_host(tmp_path / "host" / "remote", CHANGE_DETECTION)
    host = tmp_path / "host"
    assert HostReading.of(host, [host / "train.py"]).photos == ()
    assert HostReading.of(other, [other / "train.py"]).photos == ("A/{}", "B/{}")
    assert HostReading.of(other, [other / "train.py"]).masks == ("label/{}",)


def test_imports_of_every_form_are_followed(tmp_path) -> None:
    package = tmp_path / "pkg" / "data"
    package.mkdir(parents=True)
    (tmp_path / "train.py").write_text("import pkg.data\n")
    (package / "__init__.py").write_text("from . import reading\n")
    (package / "reading.py").write_text("from .deeper import masks\nfrom ..other import x\n")
    (package / "deeper.py").write_text("mask = loader(path, 'L')\n")
    (tmp_path / "pkg" / "other.py").write_text("a = line.split(' ')[1]\n")
    (tmp_path / "broken.py").write_text("def (\n")
    scripts = [tmp_path / "train.py", tmp_path / "broken.py", tmp_path / "none.py"]
    reading = HostReading.of(tmp_path, scripts)
    assert [one.place for one in reading.conversions] == ["pkg/data/deeper.py, line 1"]
    assert reading.second_column


# What the labels were made with.


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"qhat": 0.3, "alpha": 0.05}, "labels made at alpha 0.05, rule singleton, dropped"),
        ({"qhat": 0.3, "alpha": None}, "with the threshold 0.3 and no calibration, rule singleton"),
        ({"qhat": None, "alpha": None}, "labels made without a threshold (argmax), dropped"),
    ],
)
def test_what_the_labels_were_made_with(tmp_path, examine, settings, said) -> None:
    pseudo = tmp_path / "pseudo"
    pseudo.mkdir()
    made = {"rule": "singleton", "ignore_index": 255, **settings}
    (pseudo / "labels.json").write_text(json.dumps(made))
    host = make_host(tmp_path, CHANGE_DETECTION)
    found = examine(host, NAMES, conformal={"pseudo_labels": str(pseudo)})
    (told,) = found["settings of the pseudo labels"]
    assert told.level == "ok"
    assert said in told.text
