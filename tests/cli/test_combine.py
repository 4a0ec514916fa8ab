"""``combine``: one store of several, what it was fitted on, and whose calibrations fit."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter

import numpy as np
import pytest

from conformal_plugin import Calibration
from conformal_plugin.files import (
    FileState,
    MapStore,
    _map_reader,
    open_map,
    read_label,
    read_map,
    write_label,
)

FITTED = 5


@pytest.fixture
def two(data):
    """A second annotator of ``data``, in a store; and lists of ids."""
    rng = np.random.default_rng(9)
    store = MapStore(data.root / "second", annotator={"model": "b"}, class_names=tuple("abcd"))
    for name in data.ids:
        shape = np.load(data.maps / f"{name}.npz")["probs"].shape
        store.write(name, rng.dirichlet(np.ones(4), shape[1:]).transpose(2, 0, 1).astype("f4"))
    data.second = store.folder
    data.fit = data.root / "fit.txt"
    data.fit.write_text("\n".join(data.ids[:FITTED]) + "\n", encoding="utf-8")
    data.rest = data.root / "rest.txt"
    data.rest.write_text("\n".join(data.ids[FITTED:]) + "\n", encoding="utf-8")
    data.fitting = ("--fit-ids", data.fit, "--labels", data.labels)
    return data


def combine(run, two, out, *more):
    return run("combine", "--maps", two.maps, two.second, "--out", out, *more)


def calibrate(run, two, maps, *more):
    output = two.root / "c.json"
    common = ("calibrate", "--maps", maps, "--labels", two.labels, "--alpha", 0.3, "-o", output)
    return run(*common, *more)


def test_the_mean_of_two_folders_is_in_a_store(run, two) -> None:
    done = combine(run, two, two.root / "mean")
    assert done.code == 0, done.err
    store = MapStore.open(two.root / "mean")
    assert store.ids() == tuple(two.ids)
    assert store.class_names == tuple("abcd")
    assert store.annotator["of"][1] == {"model": "b"}
    assert store.annotator["fitted_on"] == []
    one, other = (
        np.asarray(read_map(path), np.float32)
        for path in (two.maps / "im0003.npz", two.second / "im0003.cpmap")
    )
    np.testing.assert_allclose(store.read("im0003"), (one + other) / 2, atol=2**-11)


@pytest.mark.parametrize("rule", ["pick", "route", "stack"])
def test_fitted_images_are_left_out_of_a_calibration_or_refused(run, two, rule) -> None:
    out = two.root / rule
    done = combine(run, two, out, "--rule", rule, *two.fitting)
    assert done.code == 0, done.err
    assert f"fitted on {FITTED} labelled images" in done.out
    listed = calibrate(run, two, out, "--ids", two.list)
    assert listed.code == 2
    assert f"{FITTED} of the images of --ids, im0000 among them" in listed.err
    assert not (two.root / "c.json").exists()
    assert calibrate(run, two, out, "--ids", two.rest).code == 0
    of_rest = json.loads((two.root / "c.json").read_text(encoding="utf-8"))
    left_out = calibrate(run, two, out)
    assert left_out.code == 0, left_out.err
    assert f"{FITTED} images" in left_out.err
    assert json.loads((two.root / "c.json").read_text(encoding="utf-8")) == of_rest
    assert of_rest["n_images"] == len(two.ids) - FITTED
    chosen = run("choose", "--maps", out, "--labels", two.labels, "--ids", two.list)
    assert chosen.code == 2
    assert "used to fit" in chosen.err


def test_the_router_says_what_it_certified(run, two) -> None:
    out = two.root / "route"
    fitting = ("--fit-ids", two.list, "--labels", two.labels)
    done = combine(run, two, out, "--rule", "route", "--epsilon", 0.95, "--delta", 0.9, *fitting)
    assert done.code == 0, done.err
    made = MapStore.open(out).annotator
    assert (made["epsilon"], made["delta"]) == (0.95, 0.9)
    assert made["certified"]
    assert f"certified: classes {' '.join(map(str, made['certified']))}\n" in done.out
    # By default nothing is certain of these, and the store is another one.
    other = combine(run, two, two.root / "other", "--rule", "route", *fitting)
    assert "certified: classes (none)" in other.out
    assert combine(run, two, out, "--rule", "route", *fitting).code == 2


def test_what_is_left_out_is_said_once_where_calibrate_decides_as_well(run, two) -> None:
    out = two.root / "stack"
    assert combine(run, two, out, "--rule", "stack", *two.fitting).code == 0
    done = run("calibrate", "--maps", out, "--labels", two.labels, "-o", two.root / "c.json")
    assert done.err.count("was fitted on are left out") == 1


def test_a_store_of_which_all_images_were_fitted_on_cannot_be_calibrated(run, two) -> None:
    out = two.root / "all"
    fit = ("--rule", "pick", "--fit-ids", two.list, "--labels", two.labels)
    assert combine(run, two, out, *fit).code == 0
    done = calibrate(run, two, out)
    assert done.code == 2
    assert "all 12 maps" in done.err


def test_a_calibration_refuses_maps_of_another_annotator(run, two) -> None:
    for rule in ("mean", "pick"):
        more = two.fitting if rule == "pick" else ()
        assert combine(run, two, two.root / rule, "--rule", rule, *more).code == 0
    assert calibrate(run, two, two.root / "mean").code == 0
    with_it = ("--calibration", two.root / "c.json")
    own = run("filter", "--maps", two.root / "mean", *with_it, "--out", two.root / "own")
    assert own.code == 0, own.err
    for command in (
        ("filter", "--out", two.root / "other"),
        ("evaluate", "--labels", two.labels),
    ):
        done = run(*command, "--maps", two.root / "pick", *with_it)
        assert done.code == 2
        assert "another annotator" in done.err
    # A folder that does not say whose its maps are is taken at its word.
    assert run("filter", "--maps", two.maps, *with_it, "--out", two.root / "plain").code == 0


def test_a_second_run_goes_on_where_the_first_stopped(run, two) -> None:
    out = two.root / "stack"
    more = ("--rule", "stack", *two.fitting, "--json")
    assert json.loads(combine(run, two, out, *more).out)["written"] == 12
    kept = (out / "im0007.cpmap").read_bytes()
    (out / "im0007.cpmap").unlink()
    (out / "im0008.cpmap").write_bytes(b"half")
    np.savez(two.maps / "im0009.npz", probs=np.full((4, 6, 5), 0.25, np.float16))
    again = json.loads(combine(run, two, out, *more).out)
    assert (again["written"], again["already_there"]) == (3, 9)
    assert (out / "im0007.cpmap").read_bytes() == kept
    assert json.loads(combine(run, two, out, *more).out)["written"] == 0


def test_what_does_not_fit_is_refused_before_anything_is_written(run, two) -> None:
    out = two.root / "none"
    other = MapStore(two.root / "other", annotator={}, class_names=tuple("dcba"))
    for name in two.ids:
        other.write(name, np.zeros((4, 6, 5), np.float32))
    lacking = two.root / "lacking"
    shutil.copytree(two.second, lacking)
    (lacking / "im0002.cpmap").unlink()
    to = ("--out", out)
    for expected, arguments in {
        "--fit-ids is missing": ("--maps", two.maps, two.second, "--rule", "pick", *to),
        "leave --fit-ids out": ("--maps", two.maps, two.second, *two.fitting, *to),
        "--epsilon is what --rule route certifies": (
            *("--maps", two.maps, two.second, "--rule", "pick", *two.fitting, *to),
            *("--epsilon", "0.2"),
        ),
        "two annotators or more": ("--maps", two.maps, *to),
        "same classes in the same order": ("--maps", two.second, other.folder, *to),
        "im0002": ("--maps", two.maps, lacking, *to),
        "would be lost": ("--maps", two.maps, two.second, "--out", two.second),
    }.items():
        done = run("combine", *arguments)
        assert done.code == 2, arguments
        assert expected in done.err
        assert not out.exists()


@pytest.mark.parametrize("rule", ["mean", "pick", "stack"])
def test_volumes_from_their_maps_to_labels(run, tmp_path, rule) -> None:
    rng = np.random.default_rng(3)
    names = [f"patient{number}" for number in range(8)]
    for name in names:
        truth = rng.integers(0, 3, (4, 6, 5))
        for annotator, sure in (("first", 0.6), ("second", 0.4)):
            folder = tmp_path / annotator
            folder.mkdir(exist_ok=True)
            noise = rng.dirichlet(np.ones(3), truth.shape)
            scores = sure * np.eye(3)[truth] + (1 - sure) * noise
            np.save(folder / f"{name}.npy", np.moveaxis(scores, -1, 0).astype("f4"))
        write_label(tmp_path / "labels" / f"{name}.npz", truth.astype(np.uint8))
    fit = tmp_path / "fit.txt"
    fit.write_text("patient0\npatient1\n")
    fitting = () if rule == "mean" else ("--fit-ids", fit, "--labels", tmp_path / "labels")
    folders = ("--maps", tmp_path / "first", tmp_path / "second")
    out = tmp_path / "both"
    done = run("combine", *folders, "--rule", rule, *fitting, "--out", out)
    assert done.code == 0, done.err
    assert MapStore.open(out).read("patient5").shape == (3, 4, 6, 5)
    again = run("combine", *folders, "--rule", rule, *fitting, "--out", out)
    assert "0 maps written" in again.out
    calibration = tmp_path / "c.json"
    labelled = ("--maps", out, "--labels", tmp_path / "labels")
    done = run(
        "calibrate", *labelled, "--guarantee", "image-level", "--alpha", 0.4, "-o", calibration
    )
    assert done.code == 0, done.err
    found = Calibration.load(calibration)
    assert (found.guarantee.unit, found.n_images) == ("volume", 8 if rule == "mean" else 6)
    done = run("filter", "--maps", out, "--calibration", calibration, "--out", tmp_path / "pseudo")
    assert done.code == 0, done.err
    assert read_label(tmp_path / "pseudo" / "patient5.npz").shape == (4, 6, 5)


@pytest.mark.parametrize("rule", ["mean", "route", "stack"])
def test_large_maps_are_read_part_by_part(run, two, rule, monkeypatch) -> None:
    folder = two.root / "plain"
    folder.mkdir()
    for name in two.ids:
        np.save(folder / f"{name}.npy", np.load(two.maps / f"{name}.npz")["probs"])
    fitting = () if rule == "mean" else two.fitting

    def combined(out):
        done = run("combine", "--maps", folder, two.second, "--rule", rule, *fitting, "--out", out)
        assert done.code == 0, done.err
        return [path.read_bytes() for path in sorted(out.iterdir())]

    whole = combined(two.root / "whole")
    opened = []
    monkeypatch.setattr(_map_reader, "LARGE_MAP_BYTES", 0)
    monkeypatch.setattr(_map_reader, "open_map", lambda *a: (opened.append(a), open_map(*a))[1])
    assert combined(two.root / "parts") == whole
    assert {path.suffix for path, _ in opened} == {".npy", ".cpmap"}  # of which the latter cannot


def test_a_map_that_changes_while_it_is_read_is_combined_again(run, two, monkeypatch) -> None:
    out, path = two.root / "mean", two.second / "im0001.cpmap"
    write = MapStore.write

    def and_touch(store, name, *given, **options):
        write(store, name, *given, **options)
        if name == "im0001":
            os.utime(path, ns=(0, 0))

    monkeypatch.setattr(MapStore, "write", and_touch)
    done = combine(run, two, out)
    assert done.code == 2
    assert "im0001.cpmap changed while it was read" in done.err
    monkeypatch.setattr(MapStore, "write", write)
    done = combine(run, two, out)
    assert (done.code, done.out.splitlines()[0][-12:]) == (0, "1 were there")


def test_each_map_is_looked_at_before_and_after_it_is_read(run, two, monkeypatch) -> None:
    looked: Counter[str] = Counter()
    of = FileState.of
    monkeypatch.setattr(FileState, "of", lambda path: (looked.update([path.stem]), of(path))[1])
    assert combine(run, two, two.root / "mean").code == 0
    assert looked == dict.fromkeys(two.ids, 2 * 2)  # of two annotators
    looked.clear()
    assert combine(run, two, two.root / "mean").code == 0  # all are there
    assert looked == dict.fromkeys(two.ids, 2)
