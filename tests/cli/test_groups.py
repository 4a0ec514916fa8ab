"""``--groups`` and ``--group-by``: what they say of ids, and that the commands count by them."""

from __future__ import annotations

import json

import pytest

from conformal_plugin import Calibration, Calibrator
from conformal_plugin.cli._groups import share_of
from conformal_plugin.cli._sharding import Ranks
from conformal_plugin.processes import Rank


@pytest.fixture
def grouped(make_data, tmp_path):
    """Maps of twelve images, the file of their groups, three images each."""
    data = make_data(tmp_path / "grouped", 12)
    ids = sorted(path.stem for path in data.maps.iterdir())
    file = tmp_path / "groups.tsv"
    file.write_text("".join(f"{name}\tvideo {i // 3}\n" for i, name in enumerate(ids)))
    data.groups, data.names = file, ids
    return data


def arguments(data, out, *more):
    return (
        *("calibrate", "--maps", data.maps, "--labels", data.labels, "-o", out),
        *more,
    )


@pytest.mark.parametrize("guarantee", ["pixel", "image-level", "class-conditional-image-level"])
def test_calibrate_counts_groups(grouped, run, tmp_path, guarantee):
    out = tmp_path / "calibration.json"
    more = ("--guarantee", guarantee, "--alpha", "0.3", "--groups", grouped.groups)
    done = run(*arguments(grouped, out, *more))
    assert done.code == 0
    calibration = Calibration.load(out)
    assert (calibration.n_images, calibration.n_groups) == (12, 4)
    assert "12 images in 4 groups" in done.out
    assert calibration.groups_per_class is not None
    assert calibration.groups_per_class.max() == 4


def test_image_level_is_told_its_groups_before_any_map_is_read(grouped, run, tmp_path):
    more = ("--guarantee", "image-level", "--alpha", "0.1", "--groups", grouped.groups)
    done = run(*arguments(grouped, tmp_path / "c.json", *more))
    assert "needs at least 9 groups, and there are 4" in done.err
    more = ("--guarantee", "precision", "--epsilon", "0.3", "--groups", grouped.groups)
    done = run(*arguments(grouped, tmp_path / "p.json", *more))
    assert "groups without a wrong label" in done.err
    assert Calibration.load(tmp_path / "p.json").guarantee.unit == "group"


def test_a_pattern_and_a_folder(grouped, run, tmp_path):
    for name in grouped.names:
        for folder in (grouped.maps, grouped.labels):
            path = next(folder.glob(f"{name}.*"))
            place = folder / f"seq{grouped.names.index(name) // 4}" / f"{name}{path.suffix}"
            place.parent.mkdir(exist_ok=True)
            path.rename(place)
    found = []
    for number, pattern in enumerate((r"^seq(\d+)/", "folder", "seq.")):
        out = tmp_path / f"{number}.json"
        done = run(*arguments(grouped, out, "--alpha", "0.3", "--group-by", pattern))
        assert done.code == 0
        found.append(Calibration.load(out))
    assert found[0] == found[1] == found[2]
    assert found[0].n_groups == 3
    for pattern, message in (
        ("(", "is no regular expression"),
        ("clip", "finds nothing in the id"),
    ):
        done = run(*arguments(grouped, tmp_path / "no.json", "--group-by", pattern))
        assert done.code == 2
        assert message in done.err


def test_what_is_wrong_with_a_file_of_groups(grouped, run, tmp_path):
    lines = grouped.groups.read_text().splitlines()
    for text, message in (
        ("\n".join(lines[1:]), "1 ids have no group"),
        ("\n".join([*lines, f"{grouped.names[0]}\tother"]), "a second group, other"),
        ("\n".join([*lines, "word"]), "expected ID <tab> GROUP"),
    ):
        grouped.groups.write_text(text)
        done = run(*arguments(grouped, tmp_path / "c.json", "--groups", grouped.groups))
        assert done.code == 2
        assert message in done.err
    done = run(*arguments(grouped, tmp_path / "c.json", "--groups", tmp_path / "none.tsv"))
    assert "cannot read the groups" in done.err
    done = run(*arguments(grouped, tmp_path / "c.json", "--group-by", "folder"))
    assert "is in none" in done.err


def test_the_images_at_hand_are_no_groups(grouped, run, tmp_path):
    precision = ("--guarantee", "precision", "--epsilon", "0.4", "--unlabelled-images", 100)
    for more in (("--groups", grouped.groups), ("--group-by", "im00")):
        done = run(*arguments(grouped, tmp_path / "c.json", *precision, *more))
        assert done.code == 2
        assert "leave groups or unlabelled_images out" in done.err
        assert not (tmp_path / "c.json").exists()


def test_choose_folds_are_groups(grouped, run):
    command = ("choose", "--maps", grouped.maps, "--labels", grouped.labels)
    done = run(*command, "--groups", grouped.groups, "--json")
    content = json.loads(done.out)
    assert (content["folds"], content["n_groups"], content["n_images"]) == (4, 4, 12)
    assert "12 images of 4 groups, 4 folds" in run(*command, "--groups", grouped.groups).out


def test_an_interrupted_run_with_other_groups_is_not_gone_on_with(
    grouped, run, tmp_path, monkeypatch
):
    out = tmp_path / "c.json"
    update, calls = Calibrator.update, []

    def interrupted(self, *given):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        update(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Calibrator, "update", interrupted)
        assert run(*arguments(grouped, out, "--alpha", 0.3, "--groups", grouped.groups)).code == 130
    done = run(*arguments(grouped, out, "--alpha", 0.3))
    assert done.code == 2
    assert "made with other settings (groups" in done.err


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_a_group_is_one_rank_s(world):
    ids = [f"i{i}" for i in range(20)]
    groups = {name: f"g{i % 5}" for i, name in enumerate(ids)}
    shares = [share_of(ids, groups, Ranks(Rank(number, world))) for number in range(world)]
    assert sorted(place for share in shares for place in share) == list(range(20))
    held = [{groups[ids[place]] for place in share} for share in shares]
    assert sum(map(len, held)) == 5
    alone = [share_of(ids, None, Ranks(Rank(number, world))) for number in range(world)]
    assert sorted(place for share in alone for place in share) == list(range(20))
