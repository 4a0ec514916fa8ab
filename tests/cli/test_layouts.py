"""From a list to pseudo-labels and into a training loop, for data sets as they lie on disk."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from conformal_plugin import Calibration
from conformal_plugin.adapters.labels import AlignedPseudoLabels
from conformal_plugin.files import read_label, voc_palette

PAGE = Path(__file__).parents[2] / "docs" / "your-data.md"

ANNOTATOR = """
import numpy as np
def scores(photo):
    # Red says the class, green how sure one can be of it.
    classes = np.minimum(photo[..., 0] // 20, CLASSES - 1)
    sure = .5 + photo[..., 1:2].astype(np.float32) / 512
    one = np.eye(CLASSES, dtype=np.float32)[classes]
    return np.moveaxis(one * sure + (1 - sure) / CLASSES, 2, 0)
"""


def resize(img, mask):
    return img, mask


def crop(img, mask):
    return img, mask


def hflip(img, mask):
    flip = Image.Transpose.FLIP_LEFT_RIGHT
    return img.transpose(flip), mask.transpose(flip)


class HostData(Dataset):
    """The dataset of a host: lines ``PHOTO MASK``, joined to its root."""

    mode = "train_u"

    def __init__(self, root, id_path):
        self.root, self.ids = Path(root), Path(id_path).read_text().splitlines()

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, item):
        photo, mask = (Image.open(self.root / path) for path in self.ids[item].split(" "))
        img, mask = resize(photo.convert("RGB"), mask)
        img, mask = crop(img, mask)
        img, mask = hflip(img, mask)
        return (torch.from_numpy(np.array(img)).permute(2, 0, 1),)


class Folder:
    """A data set in the making: photos and masks where they lie, and lists of them."""

    def __init__(self, root: Path, classes: int) -> None:
        self.root, self.classes = root, classes
        self.rng = np.random.default_rng(5)
        self.truth: dict[str, np.ndarray] = {}

    def add(self, photo: str, mask: str, encode=lambda labels: labels, mode=None) -> str:
        """A photo and its mask, which holds ``encode(classes)``; gives the line of the list."""
        pixels, labels = self.drawn()
        for path in (photo, mask):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(self.root / photo, quality=100, subsampling=0)
        image = Image.fromarray(np.asarray(encode(labels), dtype=np.uint8))
        if mode == "P":
            image.putpalette(voc_palette())
        image.save(self.root / mask)
        self.truth[photo] = labels
        return f"{photo} {mask}"

    def drawn(self) -> tuple[np.ndarray, np.ndarray]:
        """The pixels of a photo, and their classes."""
        coarse = self.rng.integers(0, self.classes, (4, 5))
        labels = np.kron(coarse, np.ones((6, 6), int)).astype(np.uint8)
        pixels = self.rng.integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
        pixels[..., 0] = 20 * labels + self.rng.integers(0, 20, labels.shape)
        wrong = self.rng.random(labels.shape) < 0.03
        pixels[..., 0][wrong] = self.rng.integers(0, 20 * self.classes, int(wrong.sum()))
        return pixels, labels

    def lists(self, lines: list[str], labelled: int) -> None:
        for name, some in (
            ("all", lines),
            ("labelled", lines[:labelled]),
            ("unlabelled", lines[labelled:]),
            ("held_out", lines[labelled:]),
        ):
            text = "".join(f"{line}\n" for line in some)
            (self.root / f"{name}.txt").write_text(text, encoding="utf-8")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Changes into an empty folder in which an annotator of ``classes`` lies."""

    def make(classes: int) -> Folder:
        (tmp_path / "my_model.py").write_text(f"CLASSES = {classes}\n{ANNOTATOR}")
        names = "".join(f"class {number}\n" for number in range(classes))
        (tmp_path / "classes.txt").write_text(names)
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        return Folder(tmp_path, classes)

    yield make
    sys.modules.pop("my_model", None)


def commands(section: str) -> list[list[str]]:
    """What the page tells a user of such a data set to type."""
    (_, text) = PAGE.read_text(encoding="utf-8").split(f"## {section}\n")
    block = text.split("```bash\n")[1].split("```")[0].replace("\\\n", "")
    return [shlex.split(line)[1:] for line in block.splitlines()]


def follow(run, section: str) -> dict[str, Any]:
    """Types it; gives what ``evaluate`` measures in the end."""
    for command in commands(section):
        done = run(*command, "--quiet", *(["--json"] if command[0] == "evaluate" else []))
        assert done.code == 0, done.err
        assert "--label-map" not in done.err, done.err  # no suspicion where all is well
    return json.loads(done.out)


def trained_on(folder: Folder, id_path: str) -> None:
    """Every photo of the host's loader comes with its own label, flipped as it was."""
    data = AlignedPseudoLabels(HostData(folder.root, id_path), "pseudo")
    for line, (photo, label) in zip(data.ids, data):
        truth = torch.from_numpy(folder.truth[line.split(" ")[0]]).long().flip(-1)
        kept = label != 255
        assert photo.shape[1:] == label.shape
        assert (label[kept] == truth[kept]).float().mean() > 0.9
        assert kept.any()


CITY_CLASSES = 7


def cityscapes(folder: Folder, kind: str, encode=lambda labels: labels) -> None:
    lines = []
    for number in range(12):
        city = ("aachen", "bremen", "ulm")[number % 3]
        frame = f"{city}/{city}_{number:06d}_000019"
        lines.append(
            folder.add(
                f"leftImg8bit/train/{frame}_leftImg8bit.png",
                f"gtFine/train/{frame}_gtFine_{kind}.png",
                encode,
            )
        )
    folder.lists(lines, 6)


def test_cityscapes_as_unimatch_lists_it(run, work):
    folder = work(CITY_CLASSES)
    cityscapes(folder, "labelTrainIds")
    measured = follow(run, "Cityscapes, as UniMatch lists it")
    assert measured["precision"] > 0.9
    assert measured["n_images"] == 6
    trained_on(folder, "unlabelled.txt")  # the host's own list
    trained_on(folder, "pairs.txt")  # and the one that filter wrote
    frame = "aachen/aachen_000006_000019_leftImg8bit"
    expected = f"leftImg8bit/train/{frame}.png pseudo/{frame}.png"
    assert expected in (folder.root / "pairs.txt").read_text().splitlines()


def test_cityscapes_ids_become_train_ids_and_ids_again(run, work):
    ids = np.array([7, 8, 11, 12, 13, 17, 19])
    folder = work(19)
    folder.classes = CITY_CLASSES
    cityscapes(folder, "labelIds", lambda labels: ids[labels])
    done = run(
        *("annotate", "--photos", "leftImg8bit/train", "--quiet", "--out", "maps"),
        *("--annotator", "my_model:scores", "--classes", "classes.txt"),
    )
    assert done.code == 0, done.err
    done = run(
        *("calibrate", "--maps", "maps", "--labels", "gtFine/train", "--ids", "labelled.txt"),
        *("--label-map", "cityscapes", "--alpha", 0.1, "-o", "c.json"),
    )
    assert done.code == 0, done.err
    assert Calibration.load("c.json").label_map(np.uint8([[7, 8, 0]])).tolist() == [[0, 1, 255]]
    for number, (options, mode) in enumerate(
        (([], "P"), (["--own-numbers"], "P"), (["--own-numbers", "--grey"], "L"))
    ):
        out = folder.root / f"labels{number}"
        command = (
            *("filter", "--maps", "maps", "--ids", "unlabelled.txt", "--calibration", "c.json"),
            *("--rule", "most-probable", "--out", out, *options, "--json"),
        )
        first, again = run(*command), run(*command)
        assert first.code == again.code == 0, again.err
        assert json.loads(again.out)["written"] == 0
        assert json.loads(again.out)["share_per_class"] == json.loads(first.out)["share_per_class"]
        path = next(out.rglob("*.png"))
        with Image.open(path) as image:
            assert image.mode == mode
        held = set(np.unique(read_label(path)).tolist())
        assert held <= ({*ids.tolist(), 0} if options else {*range(CITY_CLASSES), 255})


def test_train_ids_are_not_taken_for_ids(run, work):
    folder = work(CITY_CLASSES)
    cityscapes(folder, "labelTrainIds")
    (folder.root / "maps").mkdir()
    for photo in folder.truth:
        path = folder.root / "maps" / Path(photo).relative_to("leftImg8bit/train")
        path.parent.mkdir(exist_ok=True)
        np.save(path.with_suffix(".npy"), np.full((19, 24, 30), 0.5, np.float32))
    done = run(
        *("calibrate", "--maps", "maps", "--labels", "gtFine/train", "--ids", "labelled.txt"),
        *("--label-map", "cityscapes", "-o", "c.json"),
    )
    assert done.code == 2
    assert "holds trainIds already" in done.err


def test_ade20k(run, work):
    folder = work(9)
    lines = [
        folder.add(
            f"images/training/ADE_train_{number:08d}.jpg",
            f"annotations/training/ADE_train_{number:08d}.png",
            lambda labels: np.where(np.arange(labels.shape[1]) < 3, 0, labels + 1),
        )
        for number in range(12)
    ]
    folder.lists(lines, 6)
    measured = follow(run, "ADE20K")
    assert measured["precision"] > 0.9
    trained_on(folder, "unlabelled.txt")


def test_a_binary_medical_folder(run, work):
    """Masks of 0 and 255 that end in ``_mask``, beside the photos; ids without columns."""
    folder = work(2)
    names = [f"case_{number}" for number in range(12)]
    for name in names:
        folder.add(f"set/{name}.png", f"set/{name}_mask.png", lambda labels: 255 * labels)
    folder.lists(names, 6)
    measured = follow(run, "A binary medical folder")
    assert measured["precision"] > 0.9
    assert measured["pixels_per_class"][0] > 0 < measured["pixels_per_class"][1]
    trained_on(folder, "pairs.txt")
    done = run(
        *("filter", "--maps", "maps", "--ids", "unlabelled.txt", "--out", "own"),
        *("--calibration", "calibration.json", "--own-numbers", "--dropped", 127, "--grey"),
    )
    assert done.code == 0, done.err
    with Image.open("own/case_7.png") as image:
        assert image.mode == "L"
        assert set(np.unique(image)) <= {0, 127, 255}


def test_masks_beside_their_photos_are_no_photos(run, work):
    folder = work(2)
    for number in range(2):
        folder.add(f"set/{number}.png", f"set/{number}_mask.png")
    done = run(
        *("annotate", "--photos", "set", "--quiet", "--out", "maps", "--json"),
        *("--annotator", "my_model:scores", "--classes", "classes.txt"),
    )
    assert json.loads(done.out)["photos"] == 2
    done = run("calibrate", "--maps", "maps", "--labels", "set", "-o", "c.json")
    assert done.code == 2
    assert "--label-suffix" in done.err


def test_coco_stuff(run, work):
    folder = work(8)
    lines = []
    for split, masks in (("train2017", "train2017"), ("val2017", "val2017")):
        for number in range(6):
            # The two splits count their photos alike.
            lines.append(
                folder.add(
                    f"images/{split}/{number:012d}.jpg",
                    f"stuffthingmaps/{masks}/{number:012d}.png",
                )
            )
    folder.lists(lines, 6)
    measured = follow(run, "COCO-Stuff")
    assert measured["precision"] > 0.9
    assert (folder.root / "pseudo" / "val2017" / "000000000003.png").is_file()
    trained_on(folder, "unlabelled.txt")


def right_of_kept(path: Path, truth: np.ndarray) -> float:
    """The share of the kept pixels of a pseudo-label that are right."""
    found = read_label(path)
    assert found.shape == truth.shape
    kept = found != 255
    assert kept.any()
    return float((found == truth)[kept].mean())


def test_slices_as_ssl4mis_has_them(run, work):
    h5py = pytest.importorskip("h5py", reason="needs the extra h5")
    folder = work(4)
    names, truth = [], {}
    (folder.root / "data" / "slices").mkdir(parents=True)
    for patient in range(1, 13):
        for number in (1, 2):
            name = f"patient{patient:03}_frame01_slice_{number}"
            pixels, truth[name] = folder.drawn()
            with h5py.File(folder.root / "data" / "slices" / f"{name}.h5", "w") as file:
                image = pixels[..., 0].astype(np.float32) / 255
                file.create_dataset("image", data=image, compression="gzip")
                file.create_dataset("label", data=truth[name], compression="gzip")
            names.append(name)
    folder.lists(names, 16)
    measured = follow(run, "SSL4MIS slices")
    assert measured["precision"] > 0.9
    assert Calibration.load("calibration.json").n_groups == 8
    assert all(right_of_kept(Path("pseudo") / f"{name}.png", truth[name]) > 0.9
               for name in names[16:])  # fmt: skip
    line = f"data/slices/{names[16]}.h5 pseudo/{names[16]}.png"
    assert Path("pairs.txt").read_text().splitlines()[0] == line


def test_nifti_volumes(run, work):
    nibabel = pytest.importorskip("nibabel", reason="needs the extra nifti")
    folder = work(3)
    for name in ("imagesTr", "labelsTr"):
        (folder.root / name).mkdir()
    names, truth, affine = [], {}, np.diag([1.5, 1.5, 4, 1])
    for number in range(12):
        name = f"case_{number:02}"
        slices = [folder.drawn() for _ in range(3 + number % 2)]
        image, labels = (np.stack([pair[one] for pair in slices]) for one in (0, 1))
        for where, values in (("imagesTr", image[..., 0]), ("labelsTr", labels)):
            path = folder.root / where / f"{name}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(values.astype(np.int16).transpose(), affine), path)
        names.append(name)
        truth[name] = labels
    folder.lists(names, 8)
    measured = follow(run, "NIfTI volumes")
    assert measured["precision"] > 0.9
    assert measured["n_images"] == 4
    for name in names[8:]:
        path = Path("pseudo") / f"{name}.nii.gz"
        assert right_of_kept(path, truth[name]) > 0.9
        assert np.array_equal(nibabel.load(path).affine, affine)
    line = f"imagesTr/{names[8]}.nii.gz pseudo/{names[8]}.nii.gz"
    assert Path("pairs.txt").read_text().splitlines()[0] == line


GEO_TAGS = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),  # the size of a pixel
    (33922, "d", 6, (0.0, 0.0, 0.0, 4e5, 5e6, 0.0), True),  # where the first one lies
    (34735, "H", 4, (1, 1, 0, 0), True),
]


def test_a_set_of_geotiff_tiles(run, work):
    tifffile = pytest.importorskip("tifffile", reason="needs the extra tif")
    pytest.importorskip("imagecodecs", reason="needs the extra tif")
    folder = work(5)
    lines = []
    for scene in range(1, 13):
        for column in (0, 1):
            name = f"scene{scene}_0_{column}"
            pixels, labels = folder.drawn()
            for where, values in (("images", pixels), ("masks", labels)):
                (folder.root / where).mkdir(exist_ok=True)
                tifffile.imwrite(
                    folder.root / where / f"{name}.tif",
                    values,
                    photometric="rgb" if values.ndim == 3 else "minisblack",
                    compression="deflate",
                    tile=(16, 16),
                    extratags=GEO_TAGS,
                )
            folder.truth[f"images/{name}.tif"] = labels
            lines.append(f"images/{name}.tif masks/{name}.tif")
    folder.lists(lines, 16)
    measured = follow(run, "GeoTIFF tiles")
    assert measured["precision"] > 0.9
    assert Calibration.load("calibration.json").n_groups == 8
    trained_on(folder, "pairs.txt")
