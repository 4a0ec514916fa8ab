"""What can be wrong with the lists of photos, and the photos that they name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

STANDIN = Path(__file__).parents[2] / "adapters" / "standin"


def replace_line(path: Path, number: int, line: str) -> None:
    lines = path.read_text().splitlines()
    lines[number] = line
    path.write_text("\n".join(lines) + "\n")


def test_a_list_that_cannot_be_read(patient, run) -> None:
    patient.unlabelled.write_bytes(b"\xff")
    assert "cannot be read (not UTF-8)" in patient.only(run, "unlabelled list", "error")["text"]
    patient.labelled.unlink()
    finding = patient.only(run, "labelled list", "error")
    assert "labelled.txt cannot be read (No such file or directory)" in finding["text"]


def test_an_empty_list(patient, run) -> None:
    patient.unlabelled.write_text("")
    assert "is empty" in patient.only(run, "unlabelled list", "error")["text"]


def test_blank_lines(patient, run) -> None:
    patient.labelled.write_text(patient.labelled.read_text().replace("\n", "\n\n", 1))
    finding = patient.only(run, "labelled list", "error")
    assert finding["text"] == "the labelled list has blank lines: 2"


@pytest.mark.parametrize("line", ["photos/im0003.png", "a.png\tb.png", "a.png  b.png", "a b c"])
def test_lines_that_the_host_takes_apart_in_another_way(patient, run, line) -> None:
    replace_line(patient.labelled, 3, line)
    finding = patient.only(run, "labelled list", "error")
    assert "1 lines of the labelled list are not IMAGE MASK" in finding["text"]
    assert "line 4" in finding["text"]


def test_repeated_lines(patient, run) -> None:
    patient.labelled.write_text(patient.labelled.read_text() * 2)
    finding = patient.only(run, "labelled list", "warning")
    assert finding["text"] == "10 lines of the labelled list repeat a photo"


def test_photos_on_both_lists(patient, run) -> None:
    replace_line(patient.unlabelled, 0, patient.labelled.read_text().splitlines()[0])
    finding = patient.only(run, "lists do not overlap", "warning")
    assert finding["text"] == "1 photos are on both lists: photos/im0000.png"
    assert finding["remedy"]


@pytest.mark.parametrize(
    ("check", "folder", "name"),
    [
        ("labelled files", "photos", "im0001"),
        ("labelled files", "labels", "im0001"),
        ("unlabelled files", "photos", "im0015"),
        ("unlabelled files", "labels", "im0015"),
    ],
)
def test_files_that_are_not_there(patient, run, check, folder, name) -> None:
    (patient.data / folder / f"{name}.png").unlink()
    finding = patient.only(run, check, "error")
    assert f"{folder}/{name}.png" in finding["text"]
    if (check, folder) == ("unlabelled files", "labels"):
        assert "--id-list" in finding["remedy"]


def test_unimatch_v2_needs_no_mask_of_an_unlabelled_photo(patient, run) -> None:
    (patient.data / "labels" / "im0015.png").unlink()
    shutil.copy(STANDIN / "unimatch_v2" / "unimatch_v2.py", patient.host)
    assert run("patch", patient.host, "--script", "unimatch_v2.py", "--apply").code == 0
    seen = patient.examine(run, "--script", "unimatch_v2.py").findings
    assert [f["level"] for f in seen if f["check"] == "unlabelled files"] == ["ok"]


def test_too_few_steps_for_the_hosts_log(patient, run) -> None:
    patient.configure(batch_size=2)
    assert "6 steps" in patient.only(run, "steps in an epoch", "ok")["text"]
    with (patient.host / "unimatch.py").open("a") as script:
        script.write("\n\nEVERY = lambda trainloader_u: 1 % (len(trainloader_u) // 8)\n")
    finding = patient.only(run, "steps in an epoch", "error")
    assert "make 6 steps of batch_size 2 an epoch" in finding["text"]
    assert "16 photos" in finding["remedy"]
    patient.configure(batch_size=1)
    assert "12 steps" in patient.only(run, "steps in an epoch", "ok")["text"]


def test_an_augmented_voc_split_is_not_exchangeable(patient, run) -> None:
    for path, count in ((patient.labelled, 92), (patient.unlabelled, 10490)):
        path.write_text("".join(f"photos/{path.stem}{i}.png m.png\n" for i in range(count)))
    finding = patient.only(run, "labelled and unlabelled are alike", "warning")
    assert "92 labelled of 10582 photos" in finding["text"]
    assert "not exchangeable" in finding["text"]
    patient.configure(dataset="cityscapes")
    names = {f["check"] for f in patient.examine(run).findings}
    assert "labelled and unlabelled are alike" not in names
