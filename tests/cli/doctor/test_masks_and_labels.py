"""What can be wrong in true masks and in pseudo-labels."""

from __future__ import annotations

import numpy as np
import pytest
from patient import HEIGHT, LABELLED, WIDTH
from PIL import Image

from conformal_plugin.files import write_label


def test_masks_of_colours(patient, run) -> None:
    path = patient.data / "labels" / "im0002.png"
    Image.open(path).convert("RGB").save(path)
    finding = patient.only(run, "true masks can be read", "error")
    assert "labels/im0002.png" in finding["text"]
    assert "has colours (mode RGB)" in finding["remedy"]


def test_masks_with_a_value_that_is_no_class(patient, run) -> None:
    write_label(patient.data / "labels" / "im0002.png", np.full((6, 5), 4, np.uint8))
    finding = patient.only(run, "true masks hold classes", "error")
    assert (
        "1 labelled masks (all 10 read) hold values that are neither a class 0 ... 3 nor 255"
        in (finding["text"])
    )
    assert finding["text"].endswith(": 4 in labels/im0002.png")


def test_binary_masks_drawn_with_255(patient, run) -> None:
    for i in range(LABELLED):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[2:] = 255
        write_label(patient.data / "labels" / f"im{i:04d}.png", mask)
    finding = patient.only(run, "true masks hold classes", "error")
    assert "hold 0 and 255 alone" in finding["text"]


def test_masks_of_another_size(patient, run) -> None:
    write_label(patient.data / "labels" / "im0002.png", np.zeros((5, 6), np.uint8))
    finding = patient.only(run, "true masks are as large as their photos", "error")
    assert "5 x 6 and its photo 6 x 5 (H x W)" in finding["text"]


def test_photos_without_a_pseudo_label(patient, run) -> None:
    patient.pseudo(patient.unlabelled_names[4]).unlink()
    finding = patient.only(run, "every unlabelled photo has a pseudo label", "error")
    assert "1 of 12 unlabelled photos have no pseudo-label" in finding["text"]


def test_damaged_pseudo_labels(patient, run) -> None:
    path = patient.pseudo(patient.unlabelled_names[4])
    path.write_bytes(path.read_bytes()[:60])
    finding = patient.only(run, "pseudo labels can be read", "error")
    assert path.stem in finding["text"]
    assert "cannot read the image" in finding["remedy"]


def test_pseudo_labels_of_another_size(patient, run) -> None:
    write_label(patient.pseudo(patient.unlabelled_names[0]), np.zeros((7, 5), np.uint8))
    finding = patient.only(run, "pseudo labels are as large as their photos", "error")
    assert "the first is 7 x 5 and its photo 6 x 5 (H x W)" in finding["text"]


def test_pseudo_labels_with_a_value_that_is_no_class(patient, run) -> None:
    patient.configure(nclass=2)
    finding = patient.only(run, "pseudo labels hold classes", "error")
    assert "neither a class 0 ... 1 nor 255: 2, 3 in" in finding["text"]


@pytest.mark.parametrize(("kept", "level"), [(0, "error"), (1, "warning")])
def test_nothing_is_kept(patient, run, kept, level) -> None:
    for name in patient.unlabelled_names:
        label = np.full((HEIGHT, WIDTH), 255, np.uint8)
        label[0, 0] = 0 if kept and name == patient.unlabelled_names[0] else 255
        write_label(patient.pseudo(name), label)
    finding = patient.only(run, "pixels that are kept", level)
    expected = "0.3 % of the pixels are kept" if kept else "no pixel is kept"
    assert expected in finding["text"]
    assert "smaller alpha" in finding["remedy"]


def test_classes_that_are_never_kept(patient, run) -> None:
    for name in patient.unlabelled_names:
        label = np.array(Image.open(patient.pseudo(name)))
        label[label == 2] = 255
        write_label(patient.pseudo(name), label)
    finding = patient.only(run, "classes that are kept", "warning")
    assert finding["text"].endswith("(pseudo-labels: all 12): 2; the labelled masks show 2")


def test_masks_that_the_host_renumbers(patient, run) -> None:
    for path in (patient.data / "labels").glob("*.png"):
        values = np.array(Image.open(path))
        write_label(path, np.where(values == 255, 0, values + 1).astype(np.uint8))
    patient.only(run, "true masks hold classes", "error")
    patient.only(run, "true masks hold classes", "ok", "--label-map", "reduce-zero-label")
