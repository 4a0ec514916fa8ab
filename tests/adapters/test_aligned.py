"""Pseudo-labels move exactly with their photo, and the host notices nothing."""

from __future__ import annotations

import importlib
import multiprocessing
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, DistributedSampler, Subset

from conformal_plugin import errors
from conformal_plugin.adapters.labels import AlignedPseudoLabels

# Windows has no fork.
STARTS = [start for start in ("fork", "spawn") if start in multiprocessing.get_all_start_methods()]


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def streams() -> tuple[float, float, float]:
    return random.random(), np.random.rand(), torch.rand(()).item()


def labels_of(photo: torch.Tensor) -> torch.Tensor:
    """What ``photo_labels`` of conftest.py gives, from a normalised photo (..., 3, H, W)."""
    red, green, blue = (photo * 255).round().long().unbind(-3)
    return (red + 2 * green + 4 * blue) // 7 % 4


def assert_aligned(sample) -> None:
    padding = sample[3] == 255
    assert torch.equal(sample[-1], labels_of(sample[0]).where(~padding, torch.tensor(255)))


@pytest.fixture
def nearest(monkeypatch, host):
    """Photos resized by nearest neighbour, so that a pixel's label survives every augmentation."""
    import standin_transform

    monkeypatch.setattr(standin_transform, "PHOTO_FILTER", Image.Resampling.NEAREST)


def test_a_label_made_from_pixels_stays_equal_after_1000_augmentations(nearest, host_dataset, data):
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    seed(0)
    padded = whole = 0
    for i in range(1000):
        sample = aligned[i % len(aligned)]
        assert_aligned(sample)
        padded += bool((sample[3] == 255).any())
        whole += bool((sample[3] != 255).all())
    assert padded > 100
    assert whole > 100


@pytest.mark.parametrize("folder", ["unimatch", "unimatch_v2", "corrmatch", "allspark"])
def test_every_hosts_data_set_is_aligned(nearest, monkeypatch, data, folder):
    monkeypatch.syspath_prepend(Path(__file__).parent / "standin" / folder)
    semi = importlib.import_module("dataset.semi")
    dataset = semi.SemiDataset("pascal", str(data.root), "train_u", 32, str(data.unlabelled))
    aligned = AlignedPseudoLabels(dataset, data.pseudo, padding=-1)
    seed(0)
    padded = 0
    for i in range(100):
        photo, *_, label = aligned[i % len(aligned)]
        padding = label == -1
        padded += bool(padding.any())
        assert torch.equal(label, labels_of(photo).where(~padding, torch.tensor(-1)))
        assert (photo[:, padding] == 0).all()
    assert padded > 10


def test_the_sample_is_the_hosts_tuple_with_the_label_last(host_dataset, data):
    sample = AlignedPseudoLabels(host_dataset, data.pseudo)[0]
    assert len(sample) == 7
    assert sample[-1].dtype == torch.int64
    assert sample[-1].shape == sample[0].shape[1:] == (32, 32)


def test_the_host_draws_the_same_samples_with_and_without(host_dataset, data):
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    seed(1)
    plain = [host_dataset[i % 6] for i in range(60)], streams()
    seed(1)
    wrapped = [aligned[i % 6] for i in range(60)], streams()
    assert plain[1] == wrapped[1]
    for host_sample, sample in zip(plain[0], wrapped[0]):
        assert all(map(torch.equal, host_sample, sample[:-1]))


@pytest.mark.parametrize("start", STARTS)
def test_worker_processes(host_dataset, data, start):
    def load(dataset):
        torch.manual_seed(3)
        return list(
            DataLoader(
                dataset, batch_size=2, num_workers=1, multiprocessing_context=start, timeout=120
            )
        )

    plain, wrapped = load(host_dataset), load(AlignedPseudoLabels(host_dataset, data.pseudo))
    assert len(plain) == len(wrapped) == 3
    for host_batch, batch in zip(plain, wrapped):
        assert all(map(torch.equal, host_batch, batch[:-1]))
        assert torch.equal(batch[-1] == 255, batch[3] == 255)


def test_labels_are_aligned_in_worker_processes(nearest, host_dataset, data):
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    loader = DataLoader(
        aligned, batch_size=2, num_workers=2, multiprocessing_context=STARTS[0], timeout=120
    )
    for batch in loader:
        assert_aligned(batch)


def test_threads_share_one_random_stream_and_stay_aligned(nearest, host_dataset, data):
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    with ThreadPoolExecutor(4) as pool:
        samples = list(pool.map(aligned.__getitem__, [i % 6 for i in range(200)]))
    for sample in samples:
        assert_aligned(sample)


def test_distributed_sampler_gives_each_rank_its_share(nearest, host_dataset, data):
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    seen = []
    for rank in range(2):
        sampler = DistributedSampler(aligned, num_replicas=2, rank=rank)
        seen += list(sampler)
        for batch in DataLoader(aligned, batch_size=3, sampler=sampler, drop_last=True):
            assert_aligned(batch)
    assert sorted(seen) == list(range(6))


def test_a_data_set_that_is_wrapped_twice(nearest, host_dataset, data):
    wrapped = [AlignedPseudoLabels(host_dataset, data.pseudo) for _ in range(2)]
    for i in range(6):
        for aligned in wrapped:
            assert_aligned(aligned[i])


def test_repeated_ids_are_augmented_anew_and_aligned(nearest, host, data):
    dataset = host.SemiDataset("pascal", str(data.root), "train_u", 32, str(data.unlabelled), 15)
    aligned = AlignedPseudoLabels(dataset, data.pseudo)
    assert len(aligned) == len(aligned.ids) == 15
    for i in range(15):
        assert_aligned(aligned[i])


def test_the_hosts_module_is_never_changed(monkeypatch, host, host_dataset, data):
    originals = host.resize, host.crop, host.hflip
    seen = []
    jitter = host.jitter
    monkeypatch.setattr(
        host,
        "jitter",
        lambda img: seen.append((host.resize, host.crop, host.hflip)) or jitter(img),
    )
    AlignedPseudoLabels(host_dataset, data.pseudo)[0]
    assert seen == [originals, originals]


def test_a_patched_host_function_is_the_one_replayed(monkeypatch, host, host_dataset, data):
    """Forks swap functions of the module after import; what counts is the one at the call."""
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    monkeypatch.setattr(host, "hflip", lambda img, mask, p: (img.rotate(180), mask.rotate(180)))
    monkeypatch.setattr(host, "resize", lambda img, mask, ratio: (img, mask))
    for i in range(6):
        assert_aligned(aligned[i])


def test_forks_may_draw_from_numpy_and_torch(monkeypatch, nearest, host, host_dataset, data):
    def numpy_flip(img, mask, p):
        turn = Image.Transpose(np.random.randint(0, 5))
        return img.transpose(turn), mask.transpose(turn)

    def torch_crop(img, mask, size, fill):
        y = int(torch.randint(0, 9, ()))
        box = (y, y, y + size, y + size)
        grown = [Image.new(i.mode, (99, 99), f) for i, f in ((img, 0), (mask, fill))]
        for canvas, image in zip(grown, (img, mask)):
            canvas.paste(image)
        return grown[0].crop(box), grown[1].crop(box)

    monkeypatch.setattr(host, "hflip", numpy_flip)
    monkeypatch.setattr(host, "crop", torch_crop)
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    seed(4)
    for i in range(50):
        assert_aligned(aligned[i % 6])
    after = streams()
    seed(4)
    for i in range(50):
        host_dataset[i % 6]
    assert streams() == after


def test_padding_is_ignored_whatever_the_host_pads_with(monkeypatch, host, host_dataset, data):
    crop = host.crop
    monkeypatch.setattr(host, "crop", lambda img, mask, size, fill: crop(img, mask, size, 1))
    monkeypatch.setattr(host, "resize", lambda img, mask, ratio: (img, mask))
    monkeypatch.setattr(host, "hflip", lambda img, mask, p: (img, mask))
    for options in ({"ignore_index": 200}, {"padding": 200}):
        label = AlignedPseudoLabels(host_dataset, data.pseudo, **options)[4][-1]  # 20 x 51
        assert (label[20:] == 200).all()
        assert (label[:20] < 4).all()


def test_filtered_pixels_stay_filtered_and_are_not_padding(nearest, host_dataset, data):
    path = data.pseudo / "p5.png"  # 45 x 45
    labels = np.array(Image.open(path))
    labels[:, :20] = 255
    Image.fromarray(labels).save(path)
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    seed(0)
    samples = [aligned[5] for _ in range(40)]
    assert any(((s[-1] == 255) & (s[3] == 0)).any() for s in samples)


def test_attributes_are_the_hosts_and_ids_are_read_only(host_dataset, data):
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    assert (aligned.mode, aligned.size, aligned.name) == ("train_u", 32, "pascal")
    with pytest.raises(AttributeError, match="colour"):
        _ = aligned.colour
    with pytest.raises(AttributeError):
        aligned.ids = []
    again = pickle.loads(pickle.dumps(aligned))
    assert again.ids == aligned.ids


def getitem(host, body, line="self.ids[item]"):
    """A data set of the host's kind with a ``__getitem__`` of its own, of the host's module."""
    code = "class Other(SemiDataset):\n    def __getitem__(self, item):\n"
    code += f"        img, mask = self.read(*{line}.split(' '))\n"
    code += "".join(f"        {line}\n" for line in body)
    exec(code, vars(host))
    return host.Other


TAIL = ("pad = torch.from_numpy(np.array(mask)).long() == 254",
        "return normalize(img), 0, 0, torch.where(pad, 255, 0)")  # fmt: skip


@pytest.mark.parametrize(
    ("body", "functions"),
    [
        (["img, mask = vflip(img, mask)", "img, mask = crop(img, mask, 32, 254)"], {
            "vflip": lambda img, mask: (
                (img.rotate(180), mask.rotate(180)) if random.random() < 0.5 else (img, mask)
            )
        }),
        (["img, mask, side = turn(img, mask, 32)"], {
            "turn": lambda img, mask, size: (img.resize((size, size), 0),
                                             mask.resize((size, size), 0), 7)
        }),
        (["img, mask = np.array(img), np.array(mask)", "img, mask = flip(img, mask)",
          "img, mask = Image.fromarray(img), Image.fromarray(mask)"], {
            "flip": lambda img, mask: (np.ascontiguousarray(img[::-1, ::-1]),
                                       np.ascontiguousarray(mask[::-1, ::-1]))
        }),
        (["img = near(img, 32)", "mask = near(mask, 32)"], {
            "near": lambda img, size: img.resize((size, size), 0)
        }),
        (["img, mask = crop(img=img, mask=mask, size=32, ignore_value=254)"], {}),
        (["boxes = np.zeros((5, *np.array(mask).shape), np.uint8)",
          "img, mask, boxes = beside(img, mask, 32, boxes=boxes)",
          "img, mask, boxes = beside(img, mask, 32, boxes=boxes)"], {
            "beside": lambda img, mask, size, boxes: (
                img.resize((size, size), 0), mask.resize((size, size), 0),
                [Image.fromarray(box).resize((size, size), 0) for box in boxes]
                if isinstance(boxes, np.ndarray) else np.stack(boxes)
            )
        }),
    ],
    ids=["another flip", "more results", "arrays", "one by one", "by keyword", "boxes behind it"],
)  # fmt: skip
def test_functions_are_found_by_what_they_are_given(nearest, host, data, body, functions):
    vars(host).update(functions)
    dataset = getitem(host, [*body, *TAIL])(
        "pascal", str(data.root), "train_u", 32, str(data.unlabelled)
    )
    aligned = AlignedPseudoLabels(dataset, data.pseudo)
    seed(0)
    for i in range(18):
        assert_aligned(aligned[i % 6])


def test_a_data_set_that_draws_its_photo_by_itself(nearest, host, data):
    host.random = random
    made = getitem(host, ["img, mask = crop(img, mask, 32, 254)", *TAIL], "random.choice(self.ids)")
    dataset = made("pascal", str(data.root), "train_u", 32, str(data.unlabelled))
    aligned = AlignedPseudoLabels(dataset, data.pseudo)
    seed(0)
    for _ in range(20):
        assert_aligned(aligned[0])


# What is refused.


def test_a_sample_of_two_photos_is_refused(host, data):
    body = ["other, _ = self.read(*self.ids[item - 1].split(' '))",
            "img, mask = crop(img, mask, 32, 254)"]  # fmt: skip
    dataset = getitem(host, [*body, *TAIL])(
        "pascal", str(data.root), "train_u", 32, str(data.unlabelled)
    )
    with pytest.raises(errors.OptionError, match="but it took 2 lines, 'photos/p0.png"):
        AlignedPseudoLabels(dataset, data.pseudo)[0]


def test_a_photo_of_another_list_is_refused(host, data):
    host.OTHER = ["photos/p1.png masks/p1.png"]
    dataset = getitem(host, ["img, mask = crop(img, mask, 32, 254)", *TAIL], "OTHER[0]")(
        "pascal", str(data.root), "train_u", 32, str(data.unlabelled)
    )
    with pytest.raises(errors.OptionError, match="take one line from self.ids .* but it took none"):
        AlignedPseudoLabels(dataset, data.pseudo)[0]


def test_a_crop_that_looks_at_the_mask_is_refused(monkeypatch, host, host_dataset, data):
    """Its draws are the same for the label, and what it cuts is not."""

    def towards_a_class(img, mask, size, fill):
        wide = Image.new("RGB", (99, 99)), Image.new(mask.mode, (99, 99), fill)
        for canvas, image in zip(wide, (img, mask)):
            canvas.paste(image)
        x, y = random.randint(0, 9), random.randint(0, 9)
        if np.asarray(mask)[0, 0] == 2:
            x = 0
        return tuple(image.crop((x, y, x + size, y + size)) for image in wide)

    monkeypatch.setattr(host, "crop", towards_a_class)
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    seed(0)
    with pytest.raises(errors.OptionError, match="'towards_a_class' did something else to the pho"):
        list(map(aligned.__getitem__, [i % 6 for i in range(60)]))


def test_a_photo_that_is_moved_without_its_mask_is_refused(monkeypatch, host, host_dataset, data):
    normalize = host.normalize
    monkeypatch.setattr(host, "normalize", lambda img: normalize(img.rotate(180)))
    with pytest.raises(errors.OptionError, match="no view in the sample of 'photos/p0.png"):
        AlignedPseudoLabels(host_dataset, data.pseudo)[0]


def test_a_shift_by_one_pixel_is_no_scale_of_the_photo(monkeypatch, host, host_dataset, data):
    normalize = host.normalize
    monkeypatch.setattr(host, "normalize", lambda img: normalize(img).roll(1, -1))
    with pytest.raises(errors.OptionError, match="no view in the sample"):
        AlignedPseudoLabels(host_dataset, data.pseudo)[0]


@pytest.mark.parametrize(
    "mixed",
    [
        lambda view: view.mean(0, keepdim=True).expand(3, -1, -1) * 2 - 1,
        lambda view: view.mean(0, keepdim=True),
        lambda view: view.flip(0),
    ],
    ids=["grey", "one channel", "BGR"],
)
def test_channels_that_are_mixed_still_show_the_photo(monkeypatch, host, host_dataset, data, mixed):
    plain = host.normalize
    monkeypatch.setattr(host, "normalize", lambda img: mixed(plain(img)))
    AlignedPseudoLabels(host_dataset, data.pseudo)[0]
    monkeypatch.setattr(host, "normalize", lambda img: mixed(plain(img.rotate(180))))
    with pytest.raises(errors.OptionError, match="no view in the sample"):
        AlignedPseudoLabels(host_dataset, data.pseudo)[0]


def test_a_photo_of_one_colour_shows_nothing_but_itself(monkeypatch, host, host_dataset, data):
    for path in (data.root / "photos").iterdir():
        with Image.open(path) as photo:
            size = photo.size
        Image.new("RGB", size, (93, 201, 7)).save(path)
    # Without padding, which would give the photo an edge.
    monkeypatch.setattr(host, "resize", lambda img, mask, ratio: (img, mask))
    host_dataset.size = 16
    AlignedPseudoLabels(host_dataset, data.pseudo)[0]
    normalize = host.normalize
    monkeypatch.setattr(host, "normalize", lambda img: normalize(img) + torch.rand(16))
    with pytest.raises(errors.OptionError, match="no view in the sample"):
        AlignedPseudoLabels(host_dataset, data.pseudo)[0]


def test_blended_labels_are_refused(monkeypatch, host, host_dataset, data):
    def smooth(img, mask, ratio):
        size = (img.width * 2, img.height * 2)
        return img.resize(size), mask.resize(size, Image.Resampling.BILINEAR)

    monkeypatch.setattr(host, "resize", smooth)
    with pytest.raises(errors.OptionError, match="blended neighbouring labels"):
        AlignedPseudoLabels(host_dataset, data.pseudo)[0]


def test_a_mask_that_is_never_passed_on_is_refused(host, data):
    dataset = getitem(host, ["return normalize(img), mask"])(
        "pascal", str(data.root), "train_u", 32, str(data.unlabelled)
    )
    with pytest.raises(errors.OptionError, match="called no function of its module with the photo"):
        AlignedPseudoLabels(dataset, data.pseudo)[0]


def test_a_function_that_gives_no_mask_back_is_named(host, data):
    def as_dict(img, mask):
        return {"image": img, "mask": mask}

    host.as_dict = as_dict
    dataset = getitem(host, ["both = as_dict(img, mask)", "return normalize(img), both['mask']"])(
        "pascal", str(data.root), "train_u", 32, str(data.unlabelled)
    )
    with pytest.raises(errors.OptionError, match="'as_dict' was given the photo and its mask, and"):
        AlignedPseudoLabels(dataset, data.pseudo)[0]


def test_only_the_unlabelled_dataset_is_wrapped(host, data):
    labelled = host.SemiDataset("pascal", str(data.root), "train_l", 32, str(data.unlabelled))
    with pytest.raises(errors.OptionError, match=r"'train_u', but got mode 'train_l'.*wrap only"):
        AlignedPseudoLabels(labelled, data.pseudo)


def test_a_wrapper_of_the_dataset_is_refused(host_dataset, data):
    class Wrapper(Subset):
        ids = property(lambda self: self.dataset.ids)

    wrapper = Wrapper(host_dataset, range(3))
    with pytest.raises(errors.OptionError, match="does not call any function as a"):
        AlignedPseudoLabels(wrapper, data.pseudo)


def test_unknown_transforms_are_named(host_dataset, data):
    with pytest.raises(errors.OptionError, match=r"standin_semi does not call 'rotate' as"):
        AlignedPseudoLabels(host_dataset, data.pseudo, transforms=("resize", "rotate"))


def test_a_dataset_written_in_c_is_refused(data):
    with pytest.raises(errors.OptionError, match="written in Python, but got list"):
        AlignedPseudoLabels([1], data.pseudo)


def test_draws_that_depend_on_the_mask_are_refused(monkeypatch, host, host_dataset, data):
    hflip = host.hflip

    def unsteady(img, mask, p):
        while random.random() < 0.5 and mask.mode == "L":
            pass
        return hflip(img, mask, p)

    monkeypatch.setattr(host, "hflip", unsteady)
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    seed(0)
    with pytest.raises(
        errors.OptionError, match=r"'unsteady' drew other random numbers .*photos/p"
    ):
        list(map(aligned.__getitem__, range(6)))


def test_a_transform_that_casts_masks_is_refused(monkeypatch, host, host_dataset, data):
    monkeypatch.setattr(host, "hflip", lambda img, mask, p: (img, mask.convert("L")))
    with pytest.raises(errors.InputTypeError, match=r"mode I \(int32\), but it came back as 'L'"):
        AlignedPseudoLabels(host_dataset, data.pseudo)[0]


def test_a_transform_left_out_shows_in_the_size(host_dataset, data):
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo, transforms=("resize",))
    with pytest.raises(errors.ShapeError, match=r"32 x 32 \(H x W\) .* not among transforms"):
        aligned[0]


def test_sizes_that_differ_are_shown_with_the_id(host_dataset, data):
    Image.new("L", (31, 40)).save(data.pseudo / "p0.png")
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    match = r"'photos/p0.png masks/p0.png' differ in size .*: 30 x 40 and 31 x 40 \(W x H\)"
    with pytest.raises(errors.SourceFileError, match=match):
        aligned[0]


def test_an_error_in_a_worker_arrives_with_its_type(host_dataset, data):
    Image.new("L", (31, 40)).save(data.pseudo / "p0.png")
    aligned = AlignedPseudoLabels(host_dataset, data.pseudo)
    with pytest.raises(errors.SourceFileError, match="30 x 40 and 31 x 40"):
        list(DataLoader(aligned, num_workers=1, multiprocessing_context=STARTS[0], timeout=120))
