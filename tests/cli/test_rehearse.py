"""``conformal-plugin rehearse``: from folders to what the library says."""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
import pytest
from PIL import Image

from conformal_plugin.files import read_photo, write_label
from conformal_plugin.rehearsing import _probe, rehearse

ENCODER = """
import numpy as np

SEEN = []

def encode(photo):
    SEEN.append(photo.shape)
    return photo[::2, ::2].transpose(2, 0, 1).astype(np.float32) / 255

nothing = 3
"""


def encoded(path):
    return read_photo(path)[::2, ::2].transpose(2, 0, 1).astype(np.float32) / 255


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(_probe, "_STEPS", 20)
    monkeypatch.setattr(_probe, "_BATCH", 64)


@pytest.fixture
def bed(tmp_path, monkeypatch):
    """Photos that show their class, 7 of them labelled, and pseudo-labels of 9 others."""
    rng = np.random.default_rng(0)
    for folder in ("photos", "labels", "pseudo"):
        (tmp_path / folder).mkdir()
    names = [f"im{i:02d}" for i in range(16)]
    for i, name in enumerate(names):
        truth = rng.integers(0, 2, (10, 12)).astype(np.uint8)
        shown = np.stack([truth * 120] * 3, -1) + rng.integers(0, 130, (10, 12, 3))
        Image.fromarray(shown.astype(np.uint8)).save(tmp_path / "photos" / f"{name}.png")
        truth[0, 0] = 255
        write_label(tmp_path / ("labels" if i < 7 else "pseudo") / f"{name}.png", truth)
    (tmp_path / "labelled.txt").write_text("\n".join(names[:7]) + "\n")
    (tmp_path / "mine.py").write_text(ENCODER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield argparse.Namespace(root=tmp_path, names=names)
    sys.modules.pop("mine", None)


def typed(bed, *more):
    return [
        *("rehearse", "--photos", bed.root / "photos", "--labels", bed.root / "labels"),
        *("--pseudo-labels", bed.root / "pseudo", "--encoder", "mine:encode", *more),
    ]


def of_library(bed, labelled, others, **options):
    from conformal_plugin.files import read_label

    def parts(names, folder):
        return (
            [encoded(bed.root / "photos" / f"{name}.png") for name in names],
            [read_label(bed.root / folder / f"{name}.png") for name in names],
        )

    return rehearse(*parts(labelled, "labels"), *parts(others, "pseudo"), **options)


def test_it_gives_what_the_library_gives(bed, run):
    out = bed.root / "rehearsal.json"
    done = run(*typed(bed, "--ids", bed.root / "labelled.txt", "--json", "-o", out))
    assert done.code == 0, done.err
    expected = of_library(bed, bed.names[:7], bed.names[7:])
    assert json.loads(done.out) == json.loads(expected.to_json())
    assert out.read_text(encoding="utf-8") == expected.to_json()


def test_options_reach_the_library_and_the_table_is_printed(bed, run):
    chosen = ("--folds", 3, "--deals", 2, "--seed", 4, "--classes", 1, "--group-by", r"im\d(\d)")
    listed = bed.root / "unlabelled.txt"
    listed.write_text("im15\nim09\nim02\n")
    done = run(*typed(bed, *chosen, "--unlabelled", listed))
    assert done.code == 0, done.err
    assert "note: 1 photos are labelled and are not taken for unlabelled ones" in done.err
    groups = [name[3] for name in bed.names[:7]]
    options = {"folds": 3, "deals": 2, "seed": 4, "classes": [1], "groups": groups}
    expected = of_library(bed, bed.names[:7], ["im15", "im09"], **options)
    lines = done.out.splitlines()
    assert lines[0].split() == ["class", "alone", "with"]
    alone, together = 100 * expected.iou_alone[1], 100 * expected.iou[1]
    assert lines[1].split() == ["1", f"{alone:.1f}", f"{together:.1f}"]
    assert lines[-1] == expected.verdict
    assert "7 labelled photos in 3 folds, dealt 2 times, 2 unlabelled ones" in done.out


def test_many_unlabelled_photos_are_drawn_from_and_large_ones_shrunk(bed, run):
    small = run(*typed(bed, "--most-unlabelled", 4, "--long-side", 32, "--json"))
    assert small.code == 0, small.err
    assert "note: 4 of the 9 unlabelled photos are looked at" in small.err
    assert json.loads(small.out)["n_unlabelled"] == 4
    for name in bed.names:
        large = Image.open(bed.root / "photos" / f"{name}.png").resize((120, 100))
        large.save(bed.root / "photos" / f"{name}.png")
        for folder in ("labels", "pseudo"):
            path = bed.root / folder / f"{name}.png"
            if path.exists():
                Image.open(path).resize((120, 100), Image.Resampling.NEAREST).save(path)
    sys.modules["mine"].SEEN.clear()
    done = run(*typed(bed, "--long-side", 60, "--json"))
    assert done.code == 0, done.err
    assert set(sys.modules["mine"].SEEN) == {(50, 60, 3)}


def test_labels_of_filter_are_read_however_they_were_written(bed, data, calibrated, run):
    """In the numbers of the user's masks, or with another number where they are dropped."""
    from conformal_plugin.files import read_label

    for name in data.ids:
        shown = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8)
        (data.root / "photos").mkdir(exist_ok=True)
        Image.fromarray(shown).save(data.root / "photos" / f"{name}.png")
    labelled, others = data.root / "labelled.txt", data.root / "others.txt"
    labelled.write_text("\n".join(data.ids[:6]))
    others.write_text("\n".join(data.ids[6:]))
    found = {}
    own = ("--label-map", "0=0,7=1,33=2,9=3,99=ignore", "--own-numbers")
    for kind, more in {"plain": (), "own": own}.items():
        out = data.root / kind
        done = run(
            *("filter", "--maps", data.maps, "--qhat", 0.3, "--rule", "singleton"),
            *("--ids", others, "--out", out, *more),
        )
        assert done.code == 0, done.err
        done = run(
            *("rehearse", "--photos", data.root / "photos", "--labels", data.labels),
            *("--ids", labelled, "--pseudo-labels", out, "--encoder", "mine:encode", "--json"),
        )
        assert done.code == 0, done.err
        found[kind] = json.loads(done.out)
    first = f"{data.ids[6]}.png"
    assert (read_label(data.root / "own" / first) != read_label(data.root / "plain" / first)).any()
    assert found["own"] == found["plain"]
    assert 0 < found["plain"]["kept"] < 1


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--encoder", "mine:nothing"), "mine:nothing is no function"),
        (("--encoder", "mine:missing"), "mine:missing is no function"),
        (("--encoder", "absent:encode"), "No module named 'absent'"),
        (("--long-side", 8), "--long-side must be at least 32, got 8"),
        (("--most-unlabelled", 0), "--most-unlabelled must be at least 1"),
        (("--folds", 8), "which is 7; got 8"),
        (("--deals", 0), "deals must be at least 1"),
        (("-o", "labels"), "is a folder; name the file to write"),
        (("-o", "photos/im03.png"), "is also a photo of this run"),
        (("--unlabelled", "labelled.txt"), "every photo with a pseudo-label"),
    ],
)
def test_bad_usage_is_refused_before_any_photo_is_read(bed, run, more, text):
    (bed.root / "pseudo" / "im01.png").write_bytes((bed.root / "labels" / "im01.png").read_bytes())
    done = run(*typed(bed, *more))
    assert done.code == 2
    assert text in done.err
    if "mine" in sys.modules and "folds" not in str(more) and "deals" not in str(more):
        assert not sys.modules["mine"].SEEN


def test_a_label_of_another_size_is_named(bed, run):
    write_label(bed.root / "pseudo" / "im09.png", np.zeros((10, 11), np.uint8))
    done = run(*typed(bed))
    assert done.code == 2
    assert "image im09: the label" in done.err
    assert "(10, 11)" in done.err
    assert "(10, 12)" in done.err


def test_the_default_encoder_says_what_it_needs(bed, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    arguments = typed(bed)
    del arguments[arguments.index("--encoder") : arguments.index("--encoder") + 2]
    done = run(*arguments)
    assert done.code == 2
    assert "pip install 'conformal-plugin[pretrained]'" in done.err
