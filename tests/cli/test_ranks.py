"""Commands under ``torchrun``: several processes write and print what one does."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image

from conformal_plugin.cli import main

WORLD = 3
FAILING = ("fails", "unusable", "unreadable")
ANNOTATING = ("annotated", "labelled")


def scores(photo: np.ndarray) -> np.ndarray:
    """An annotator of three classes, the background being the rest."""
    return np.moveaxis((photo.astype(np.float32) / 255) ** 1.5, 2, 0)


def work(rank: int, world: int, folder: Path, commands: list[tuple[int, list[str]]]) -> None:
    """What torchrun does for each process, for several commands in a row."""
    torch.set_num_threads(1)
    os.chdir(folder)
    if world > 1:
        ranks = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank}
        os.environ.update({name: str(number) for name, number in ranks.items()})
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
        os.environ["TORCHELASTIC_RESTART_COUNT"] = "0"
    said = []
    for port, argv in commands:
        os.environ["MASTER_PORT"] = str(port)
        if argv[0] == "mend":
            if rank == 0:
                shutil.copy(*argv[1:])
            continue
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(argv)
        said.append([code, out.getvalue(), err.getvalue()])
    Path(f"{folder}-{rank}.json").write_text(json.dumps(said), encoding="utf-8")


def said_by_ranks(
    start_ranks, folder: Path, world: int, commands: list[list[str]]
) -> list[list[list]]:
    """What each of ``world`` processes in ``folder`` said: code, stdout, stderr per command."""
    folder.mkdir()
    # As torchrun does: the ranks meet at a store that is there before them, on a port that is held.
    stores = [dist.TCPStore("127.0.0.1", 0, is_master=True) for _ in commands]
    numbered = [(store.port, argv) for store, argv in zip(stores, commands)]
    start_ranks(work, (world, folder, numbered), world)
    answers = [Path(f"{folder}-{rank}.json") for rank in range(world)]
    return [json.loads(path.read_text(encoding="utf-8")) for path in answers]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, make_data, start_ranks):
    """The same commands by one process and by several, and what they left."""
    root = tmp_path_factory.mktemp("ranks")
    data, fine = make_data(root / "data", 8), make_data(root / "fine", 5, np.float32)
    other = make_data(root / "other", 8)
    few = root / "few.txt"
    few.write_text("im0000\nim0001\n", encoding="utf-8")
    first = root / "first.txt"
    first.write_text("im0000\nim0002\n", encoding="utf-8")
    broken = fine.maps / "im0001.npz"
    whole = root / "whole.npz"
    shutil.copy(broken, whole)

    (root / "photos").mkdir()
    for number in range(7):
        photo = np.random.default_rng(number).integers(0, 256, (6, 5, 3), np.uint8)
        Image.fromarray(photo).save(root / "photos" / f"p{number}.png")
    classes = root / "classes.txt"
    classes.write_text("background\nred\ngreen\nblue\n", encoding="utf-8")

    def on(data, ids=None):
        return [
            "--maps",
            str(data.maps),
            "--labels",
            str(data.labels),
            "--ids",
            str(ids or data.list),
        ]

    filtering = [
        *("filter", "--maps", str(data.maps), "--ids", str(data.list)),
        *("--calibration", "pixel.json", "--out", "labels", "--json"),
    ]
    annotating = [
        *("annotate", "--photos", str(root / "photos"), "--annotator", f"{__name__}:scores"),
        *("--classes", str(classes), "--batch-size", "2"),
    ]
    commands = {
        "pixel": ["calibrate", *on(data), "--alpha", "0.2", "-o", "pixel.json"],
        "alphas": ["calibrate", *on(data), "--alpha", "0.1", "0.3", "-o", "two.json", "--json"],
        "few": ["calibrate", *on(data, few), "--alpha", "0.2", "-o", "few.json"],
        "fails": ["calibrate", *on(fine), "--alpha", "0.2", "-o", "fine.json"],
        "unreadable": [
            *("calibrate", *on(fine, first), "--unlabelled", str(fine.list)),
            *("--guarantee", "precision", "--epsilon", "0.4", "-o", "surer.json"),
        ],
        "unusable": ["filter", "--maps", str(fine.maps), "--qhat", "0.5", "--out", "fine"],
        "mend": ["mend", str(whole), str(broken)],
        "goes on": ["calibrate", *on(fine), "--alpha", "0.2", "-o", "fine.json"],
        "precision": [
            *("calibrate", *on(data), "--guarantee", "precision", "--epsilon", "0.4"),
            *("-o", "precision.json"),
        ],
        "path": [
            *("calibrate", *on(data, few), "--unlabelled", str(data.list)),
            *("--guarantee", "precision", "--epsilon", "0.4", "-o", "path.json"),
        ],
        "confidence": [
            *("calibrate", *on(data), "--guarantee", "confidence", "--alpha", "0.4"),
            *("--delta", "0.3", "-o", "confidence.json"),
        ],
        "filter": filtering,
        "again": filtering,
        "evaluate": ["evaluate", *on(data), "--calibration", "pixel.json", "--json"],
        "table": ["evaluate", *on(data), "--qhat", "0.6"],
        "combine": [
            *("combine", "--maps", str(data.maps), str(other.maps), "--rule", "stack", "--json"),
            *("--fit-ids", str(few), "--labels", str(data.labels), "--out", "combined"),
        ],
        "annotated": [*annotating, "--out", "annotated"],
        "labelled": [*annotating, "--calibration", "pixel.json", "--out", "labelled"],
    }
    found = {}
    for name, world in (("one", 1), ("several", WORLD)):
        broken.write_bytes(b"half a file")
        ranks = said_by_ranks(start_ranks, root / name, world, list(commands.values()))
        answered = [key for key in commands if key != "mend"]
        found[name] = [dict(zip(answered, said)) for said in ranks]
    return root, found["one"][0], found["several"]


def test_all_succeed(story) -> None:
    _, one, several = story
    for said in (one, *several):
        codes = {key: code for key, (code, _, _) in said.items()}
        assert codes == {**dict.fromkeys(codes, 0), **dict.fromkeys(FAILING, 2)}, said


def test_files_are_the_same_byte_for_byte(story) -> None:
    root, _, _ = story
    one, several = (
        {
            # The list of what was annotated names its labels from the folder of the photos on.
            str(path.relative_to(folder)): path.read_bytes().replace(b" several/", b" one/")
            for path in sorted(folder.rglob("*"))
            # The record of labels holds the times of their files.
            if path.is_file() and path.name != "labels.done"
        }
        for folder in (root / "one", root / "several")
    )
    # Calibrations, labels, their list and manifest, those that a damaged map left without a list,
    # combined maps and theirs, an annotator's maps and its labels with theirs; no checkpoint.
    assert len(one) == 8 + 8 + 2 + 4 + 1 + 8 + 1 + 7 + 1 + 7 + 2
    assert one == several


def test_rank_0_prints_what_one_process_prints(story) -> None:
    _, one, several = story
    for key in set(one) - {*FAILING, *ANNOTATING}:
        assert several[0][key][1] == one[key][1], key
        assert all(said[key][1] == "" for said in several[1:]), key
    again = json.loads(several[0]["again"][1])
    assert (again["written"], again["already_there"]) == (0, 8)


def test_a_failure_on_one_rank_ends_all_with_its_reason(story) -> None:
    _, one, several = story
    assert "im0001" in one["fails"][2]
    assert several[1]["fails"][2] == one["fails"][2]
    for number in (0, 2):
        text = several[number]["fails"][2]
        assert "rank 1 ended this run" in text
        assert "im0001" in text


def test_an_unlabelled_map_that_one_rank_cannot_read_ends_all(story) -> None:
    _, one, several = story
    assert "im0001" in one["unreadable"][2]
    ended = [said["unreadable"][2] for said in several if "ended this run" in said["unreadable"][2]]
    assert len(ended) == WORLD - 1
    assert all("im0001" in said["unreadable"][2] for said in several)


def test_what_a_rank_cannot_use_is_told_by_the_first(story) -> None:
    _, one, several = story
    for said in (one, several[0]):
        assert said["unusable"][2].startswith("conformal-plugin filter: image im0001: cannot read")
    for said in several[1:]:
        assert "rank 0 ended this run: image im0001: cannot read" in said["unusable"][2]


def test_each_rank_goes_on_from_its_own_checkpoint(story) -> None:
    _, _, several = story
    note = "note: going on from fine.json.rank-0-of-3.partial.npz: 2 of 2 done\n"
    assert several[0]["goes on"][2] == note
    assert (
        several[1]["goes on"][2] == ""
    )  # it had counted nothing, and ranks but the first are quiet


def test_each_rank_says_what_it_annotated(story) -> None:
    _, one, several = story
    assert one["annotated"][1].startswith("7 maps written to annotated")
    for number, photos in enumerate((3, 2, 2)):  # batches of two, in turn
        for key, what in zip(ANNOTATING, ("maps", "labels")):
            text = several[number][key][1]
            assert text.startswith(f"rank {number} of 3: {photos} {what} written to {key}"), text


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("filter", ["--qhat", "0.5", "--out", "out"]),
        ("calibrate", ["--labels", "labels", "--alpha", "0.2", "-o", "c.json"]),
        ("evaluate", ["--labels", "labels", "--qhat", "0.5"]),
        ("combine", ["maps", "--out", "out"]),
        ("annotate", ["--annotator", "its:scores", "--classes", "voc", "--out", "out"]),
    ],
)
def test_without_the_rest_of_torchrun(command, options, run, data, monkeypatch) -> None:
    monkeypatch.chdir(data.root)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    before = sorted(data.root.rglob("*"))
    done = run(command, "--photos" if command == "annotate" else "--maps", "maps", *options)
    assert done.code == 2
    assert "of 2 processes, which cannot meet" in done.err
    assert "start them with torchrun, or unset RANK and WORLD_SIZE" in done.err
    assert sorted(data.root.rglob("*")) == before
