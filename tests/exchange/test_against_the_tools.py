"""What is written is read by the tools' own code, and what that writes is read here.

Each test needs a package of the tool's, and is skipped where it is not installed: label-studio-sdk,
cvat-sdk, datumaro (by which CVAT reads and writes its formats), fiftyone.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from conformal_plugin.exchange import Sent, read_returned, write_export
from conformal_plugin.exchange._label_studio_rle import packed, unpacked
from conformal_plugin.exchange._outlines import mask_of_outline
from conformal_plugin.exchange._runs import mask_of_runs, runs_of_mask

# Their own warnings are no business of this suite.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def masks() -> list[np.ndarray]:
    """Noise, an edge, nothing, everything, one pixel, and runs that are longer than 2^16."""
    rng = np.random.default_rng(0)
    large = np.zeros((200, 300), bool)
    large[150:] = True
    edge = np.zeros((7, 9), bool)
    edge[:, -1] = True
    return [rng.random((13, 11)) < 0.4, edge, edge & False, edge | True, np.eye(1, 5) > 0, large]


@pytest.fixture(scope="module")
def label_studio():
    """The SDK; loaded before a test looks at what it leaves behind in the environment."""
    package = pytest.importorskip("label_studio_sdk")
    pytest.importorskip("label_studio_sdk.converter.brush")
    pytest.importorskip("label_studio_sdk.label_interface")
    return package


@pytest.fixture(scope="module")
def cvat_masks():
    """The masks of CVAT's SDK."""
    return pytest.importorskip("cvat_sdk.masks")


@pytest.fixture(scope="module")
def datumaro():
    """What CVAT reads and writes its formats with."""
    return pytest.importorskip("datumaro")


@pytest.fixture(scope="module")
def fiftyone_importers():
    """FiftyOne's readers of folders, which need no database."""
    pytest.importorskip("cv2")
    return pytest.importorskip("fiftyone.utils.data.importers")


def written(tool: str, folder: Path, vocabulary, sheets) -> tuple[Path, Sent]:
    path = write_export(folder, tool, vocabulary, iter(sheets))[0]
    return path, Sent.read(folder)


def test_label_studio_reads_our_bits_and_we_its(label_studio, masks) -> None:
    brush = label_studio.converter.brush
    for mask in masks:
        theirs = brush.decode_rle(packed(mask)).reshape(*mask.shape, 4)
        for channel in range(4):
            np.testing.assert_array_equal(theirs[..., channel], 255 * mask)
        again = brush.mask2rle(255 * mask.astype(np.uint8))
        np.testing.assert_array_equal(unpacked(again, mask.shape), mask)


def test_label_studios_converter_reads_annotations_that_are_our_predictions(
    label_studio, tmp_path, vocabulary, sheets
) -> None:
    converter = label_studio.converter
    path, _ = written("label-studio", tmp_path / "out", vocabulary, sheets)
    tasks = json.loads(path.read_text())
    for number, task in enumerate(tasks):
        task["id"] = number
        (prediction,) = task.pop("predictions")
        task["annotations"] = [{"id": number, "completed_by": 1, **prediction}]
    project = tmp_path / "project.json"
    project.write_text(json.dumps(tasks))
    interface = (tmp_path / "out" / "labelling_interface.xml").read_text()
    theirs = converter.Converter(interface, str(tmp_path), download_resources=False)
    out = tmp_path / "numpy"
    out.mkdir()
    theirs.convert(str(project), str(out), converter.converter.Format.BRUSH_TO_NUMPY, is_dir=False)
    for number, sheet in enumerate(sheets):
        for layer in vocabulary.layers(sheet.labels):
            (file,) = [
                file
                for file in out.glob(f"task-{number}-*.npy")
                if file.stem.endswith(f"-{layer.label}-0")
            ]
            np.testing.assert_array_equal(np.load(file) > 0, layer.mask)


def test_label_studio_accepts_the_interface_and_the_predictions(
    label_studio, tmp_path, vocabulary, sheets
) -> None:
    interface = label_studio.label_interface
    path, _ = written("label-studio", tmp_path / "out", vocabulary, sheets)
    theirs = interface.LabelInterface((tmp_path / "out" / "labelling_interface.xml").read_text())
    theirs.validate()
    assert set(theirs.get_tag("label").labels) == set(vocabulary.labels)
    for task in json.loads(path.read_text()):
        assert all(theirs.validate_prediction(one) for one in task["predictions"])


def test_cvats_masks_are_our_runs(cvat_masks, masks) -> None:
    theirs = cvat_masks
    for mask in masks:
        height, width = mask.shape
        box = [0, 0, width, height]
        encoded = theirs.encode_mask(mask, box)
        assert [int(value) for value in encoded[:-4]] == runs_of_mask(mask).tolist()
        np.testing.assert_array_equal(mask_of_runs(encoded[:-4], mask.shape), mask)


def datumaro_labels(dataset, vocabulary, sheet):
    """A photo's masks in datumaro, as our labels."""
    from conformal_plugin.exchange import Layer

    categories = dataset.categories()[next(iter(dataset.categories()))]
    name = sheet.photo.file.removesuffix(".jpg")
    (item,) = [item for item in dataset if item.id == name]
    layers = [
        Layer(categories[one.label].name, np.asarray(one.image) > 0)
        for one in item.annotations
        if categories[one.label].name != "background"
    ]
    return vocabulary.compose(layers, sheet.photo.size).labels


def test_datumaro_reads_cvat_for_images(datumaro, tmp_path, vocabulary, sheets) -> None:
    path, _ = written("cvat", tmp_path / "out", vocabulary, sheets)
    job = tmp_path / "job"
    job.mkdir()
    path.rename(job / "default.xml")
    (tmp_path / "photos").rename(job / "images")
    dataset = datumaro.Dataset.import_from(str(job), "cvat")
    for sheet in sheets[:2]:
        theirs = datumaro_labels(dataset, vocabulary, sheet)
        np.testing.assert_array_equal(theirs, sheet.labels)


def test_datumaro_reads_and_writes_segmentation_masks(
    datumaro, tmp_path, vocabulary, sheets
) -> None:
    path, sent = written("cvat-masks", tmp_path / "out", vocabulary, sheets)
    task = tmp_path / "task"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(task)
    dataset = datumaro.Dataset.import_from(str(task), "voc_segmentation")
    for sheet in sheets[:2]:
        theirs = datumaro_labels(dataset, vocabulary, sheet)
        np.testing.assert_array_equal(theirs, sheet.labels)
    # As CVAT exports: with the colours of the task, which are others.
    colours = {"background": (0, 0, 0)}
    for number, label in enumerate(vocabulary.labels):
        colours[label] = (10 * number + 7, 200 - number, 3)
    table = {name: [colour, [], []] for name, colour in colours.items()}
    dataset.export(
        str(tmp_path / "again"), "voc_segmentation", label_map=table, apply_colormap=True
    )
    back = {one.photo.name: one for one in read_returned(tmp_path / "again", sent)}
    for sheet in sheets[:2]:
        np.testing.assert_array_equal(back[sheet.photo.name].composed.labels, sheet.labels)


def test_fiftyone_finds_photos_and_masks(fiftyone_importers, tmp_path, vocabulary, sheets) -> None:
    import cv2

    written("fiftyone", tmp_path / "out", vocabulary, sheets)
    theirs = fiftyone_importers.ImageSegmentationDirectoryImporter(
        str(tmp_path / "out"), data_path="data.json"
    )
    theirs.setup()
    found = {photo: label.mask_path for photo, _, label in theirs}
    assert set(found) == {str(sheet.path) for sheet in sheets}
    for sheet in sheets:
        mask = cv2.imread(found[str(sheet.path)], cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, vocabulary.indices(sheet.labels))


def distance(points: np.ndarray, place: np.ndarray) -> float:
    """From a place to the outline through these corners."""
    along = np.roll(points, -1, axis=0) - points
    share = ((place - points) * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-12)
    nearest = points + np.clip(share, 0, 1)[:, None] * along
    return float(np.linalg.norm(nearest - place, axis=1).min())


def test_polygons_are_the_masks_that_cvat_makes_of_them() -> None:
    """By pycocotools, which takes corners to a fifth of a pixel: only what is as near differs."""
    theirs = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    size = (120, 160)
    area = differing = 0
    for _ in range(100):
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 60)))
        radii = rng.uniform(5, 50) * rng.uniform(0.4, 1, len(angles))
        around = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = np.round(rng.uniform(30, 90, 2) + around, 2)
        (encoded,) = theirs.frPyObjects([points.ravel().tolist()], *size)
        expected = theirs.decode(encoded).astype(bool)
        found = mask_of_outline(points, size)
        area, differing = area + int(expected.sum()), differing + int((found != expected).sum())
        for row, column in np.argwhere(found != expected):
            assert distance(points, np.array([column + 0.5, row + 0.5])) < 0.25
    assert differing < 0.015 * area


def test_datumaro_fills_polygons_likewise(datumaro, tmp_path, vocabulary, sheets) -> None:
    _, sent = written("cvat", tmp_path / "out", vocabulary, sheets)
    points = np.array([[3.43, 2.12], [40.71, 5.23], [22.64, 30.36]])
    text = ";".join(",".join(map(str, pair)) for pair in points.tolist())
    shapes = f'<polygon label="cat" occluded="0" points="{text}" z_order="0"/>'
    job = tmp_path / "job"
    job.mkdir()
    head = (tmp_path / "out" / "annotations.xml").read_text().split("  <image")[0]
    (job / "default.xml").write_text(
        f'{head}<image id="0" name="a.jpg" width="53" height="37">{shapes}</image></annotations>'
    )
    (one,) = read_returned(job / "default.xml", sent)
    (tmp_path / "photos").rename(job / "images")
    dataset = datumaro.Dataset.import_from(str(job), "cvat")
    dataset.transform("polygons_to_masks")
    theirs = datumaro_labels(dataset, vocabulary, sheets[0])
    assert (theirs == 1).sum() > 400
    for row, column in np.argwhere(theirs != one.composed.labels):
        assert distance(points, np.array([column + 0.5, row + 0.5])) < 0.25
