"""Samples that open their photo themselves: the label stays where the photo does, only there."""

from __future__ import annotations

import random
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from conformal_plugin import errors
from conformal_plugin.adapters.labels import AlignedPseudoLabels

OPEN = [
    "photo, mask = self.ids[item].split(' ')",
    "img = Image.open(os.path.join(self.root, photo)).convert('RGB')",
    "mask = Image.open(os.path.join(self.root, mask)).convert('L')",
]
WHOLE = "return normalize(img), np.array(mask)"
BOTH_FLIPPED = ["if random.random() < 0.5: img, mask = ImageOps.flip(img), ImageOps.flip(mask)"]
CUT = "img, mask = crop(img, mask, 16, 254)"  # smaller than every photo


@pytest.fixture
def aligned(host: ModuleType, data):
    """Makes the data set whose samples are made by these lines."""

    def make(*body: str) -> AlignedPseudoLabels:
        code = "class Other(SemiDataset):\n    def __getitem__(self, item):\n"
        code += "".join(f"        {line}\n" for line in body)
        vars(host).update(random=random, ImageOps=ImageOps)
        exec(code, vars(host))
        dataset = host.Other("pascal", str(data.root), "train_u", 32, str(data.unlabelled))
        return AlignedPseudoLabels(dataset, data.pseudo)

    return make


def tensors(img, mask):
    """As of a host whose only function of both gives tensors back."""
    pixels = torch.from_numpy(np.array(img)).permute(2, 0, 1).float() / 255
    return pixels, torch.from_numpy(np.array(mask)).long()


def test_a_sample_that_moves_nothing_keeps_its_label_as_it_lies(host, aligned) -> None:
    host.tensors = tensors
    for body in ([WHOLE], ["return tensors(img, mask)"]):
        whole = aligned(*OPEN, *body)
        for number in range(len(whole)):
            _, mask, label = whole[number]  # the mask file holds what the pseudo-label does
            assert torch.equal(label, torch.as_tensor(mask).long())


def test_what_the_filter_dropped_stays_dropped(aligned, data) -> None:
    data.drop_labels("p0", slice(0, 7))
    label = aligned(*OPEN, WHOLE)[0][-1]
    assert (label[:7] == 255).all()
    assert (label[7:] < 255).all()


def test_colours_may_change_in_all_views_but_one(aligned) -> None:
    aligned(*OPEN, "return normalize(jitter(img)), normalize(img)")[0]


@pytest.mark.parametrize(
    ("move", "named"),
    [
        ("return normalize(img.rotate(180)), np.array(mask)", "called no function of its module"),
        ("return tensors(ImageOps.mirror(img), ImageOps.mirror(mask))", "'tensors' was given"),
        ("return normalize(img).roll(1, -1), np.array(mask)", "called no function of its module"),
    ],
)
def test_a_photo_that_no_function_of_both_moves_and_that_moved(host, aligned, move, named) -> None:
    host.tensors = tensors
    with pytest.raises(errors.OptionError, match=f"{named}.* which none was seen to be"):
        aligned(*OPEN, move)[0]


def test_a_label_of_another_size(aligned, data) -> None:
    Image.new("L", (31, 40)).save(data.pseudo / "p0.png")
    with pytest.raises(errors.SourceFileError, match="differ in size in their files: 30 x 40 and"):
        aligned(*OPEN, WHOLE)[0]


# What happens before the first function that is given both.


def test_a_photo_that_is_moved_before_it(aligned) -> None:
    """The mask was moved with it; the label, which is read there, was not."""
    moved = aligned(*OPEN, *BOTH_FLIPPED, CUT, WHOLE)
    random.seed(0)
    with pytest.raises(errors.OptionError, match="moved between its file and 'crop', the first"):
        [moved[0] for _ in range(20)]


def test_a_photo_that_is_moved_before_it_one_by_one(host, aligned) -> None:
    host.near = lambda img, size: img.resize((size, size), 0)
    moved = aligned(*OPEN, *BOTH_FLIPPED, "img = near(img, 16)", "mask = near(mask, 16)", WHOLE)
    random.seed(0)
    with pytest.raises(errors.OptionError, match="moved between its file and '<lambda>'"):
        [moved[0] for _ in range(20)]


@pytest.mark.parametrize(
    "before",
    [
        "img = np.asarray(img)[..., ::-1] / 255; mask = np.asarray(mask)",
        "img = np.asarray(img, np.float32) * 0.5 - 3; mask = np.asarray(mask)",
        "img = img.convert('L')",
        "img.load()",
    ],
    ids=["BGR", "normalised", "grey", "the photo"],
)
def test_what_still_shows_the_photo_goes_on(host, aligned, before) -> None:
    def cut(img, mask):
        if isinstance(img, np.ndarray):
            return np.ascontiguousarray(img[2:18, 3:19]), mask[2:18, 3:19]
        return img.crop((3, 2, 19, 18)), mask.crop((3, 2, 19, 18))

    host.cut = cut
    body = [
        before,
        "img, mask = cut(img, mask)",
        "img = np.atleast_3d(np.asarray(img, np.float32))",
    ]
    end = "return torch.from_numpy(img).permute(2, 0, 1), np.array(mask)"
    assert aligned(*OPEN, *body, end)[0][-1].shape == (16, 16)


def test_a_strong_view_may_go_with_the_photo(host, aligned) -> None:
    def cut(*pictures):
        return tuple(picture.crop((3, 2, 19, 18)) for picture in pictures)

    host.cut = cut
    strong = "img, strong, mask = cut(img, ImageOps.posterize(img, 1), mask)"
    views = "return normalize(img), normalize(strong), np.array(mask)"
    *_, mask, label = aligned(*OPEN, strong, views)[0]
    assert torch.equal(label, torch.as_tensor(mask).long())


def test_a_photo_that_was_closed_or_resized_is_not_known(aligned, data) -> None:
    opened = "file = Image.open(os.path.join(self.root, photo)); img = file.convert('RGB')"
    aligned(OPEN[0], opened, "file.close()", OPEN[2], CUT, WHOLE)[0]
    Image.new("L", (40, 40)).save(data.pseudo / "p0.png")
    aligned(*OPEN, "img, mask = img.resize((40, 40)), mask.resize((40, 40), 0)", CUT, WHOLE)[0]


def test_a_grey_photos_file_is_not_known(aligned, data) -> None:
    path = data.root / "photos" / "p0.png"
    with Image.open(path) as photo:
        photo.convert("L").save(path)
    with pytest.raises(errors.OptionError, match="called no function of its module"):
        aligned(*OPEN, WHOLE)[0]
