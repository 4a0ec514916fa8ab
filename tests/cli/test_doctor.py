"""``conformal-plugin doctor``: a run that is in order, and one test for each thing that is not."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from conformal_plugin.calibration import Calibration
from conformal_plugin.cli import main
from conformal_plugin.doctor import all_checks
from conformal_plugin.files import write_label

STANDIN = Path(__file__).parents[1] / "adapters" / "standin"
CLASSES, HEIGHT, WIDTH = 4, 6, 5
LABELLED = 10


@dataclass
class Patient:
    """A run of a host on disk: everything that the doctor looks at."""

    host: Path
    data: Path
    config: Path
    labelled: Path
    unlabelled: Path

    def examine(self, run, *arguments: object) -> SimpleNamespace:
        """Run the doctor; findings by the name of their check."""
        done = run(
            "doctor", self.host, "--config", self.config, "--json",
            "--labeled-id-path", self.labelled, "--unlabeled-id-path", self.unlabelled, *arguments,
        )  # fmt: skip
        findings = json.loads(done.out)["findings"]
        return SimpleNamespace(code=done.code, err=done.err, findings=findings)

    def only(self, run, check: str, level: str, *arguments: object) -> dict[str, Any]:
        """The one finding of a check at a level; an error must set the exit code, and alone."""
        seen = self.examine(run, *arguments)
        found = [f for f in seen.findings if (f["check"], f["level"]) == (check, level)]
        assert len(found) == 1, seen.findings
        errors = any(f["level"] == "error" for f in seen.findings)
        assert seen.code == (2 if errors else 0)
        return found[0]

    def configure(self, **changes: object) -> None:
        """Change keys of the config; None takes one out."""
        cfg = yaml.safe_load(self.config.read_text())
        cfg.update(changes)
        cfg = {key: value for key, value in cfg.items() if value is not None}
        self.config.write_text(yaml.safe_dump(cfg))

    def conform(self, **changes: object) -> None:
        """Change keys of its ``conformal:`` block."""
        cfg = yaml.safe_load(self.config.read_text())
        self.configure(conformal=cfg["conformal"] | changes)

    def calibration(self, **changes: Any) -> None:
        """Change what the calibration file says."""
        path = self.data / "calibration.json"
        dataclasses.replace(Calibration.load(path), **changes).save(path)

    def settings(self, **changes: object) -> None:
        """Change what lies beside the pseudo-labels."""
        path = self.data / "pseudo" / "labels.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def pseudo(self, name: str) -> Path:
        return self.data / "pseudo" / f"{name}.png"

    @property
    def unlabelled_names(self) -> list[str]:
        return [Path(line.split()[0]).stem for line in self.unlabelled.read_text().splitlines()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, make_data) -> Path:
    """Photos, masks, maps, a calibration and pseudo-labels, all made by the commands."""
    root = tmp_path_factory.mktemp("prepared")
    data = make_data(root / "data", 22)
    rng = np.random.default_rng(0)
    (root / "data" / "photos").mkdir()
    for name in data.ids:
        photo = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(photo).save(data.root / "photos" / f"{name}.png")
    lists = {"labelled": data.ids[:LABELLED], "unlabelled": data.ids[LABELLED:]}
    for name, ids in lists.items():
        lines = [f"photos/{i}.png labels/{i}.png" for i in ids]
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
        (root / f"{name}_ids.txt").write_text("\n".join(ids) + "\n")
    maps = ["--maps", str(data.maps), "--quiet"]
    calibration = str(data.root / "calibration.json")
    labels = ["--labels", str(data.labels), "--ids", str(root / "labelled_ids.txt")]
    assert main(["calibrate", *maps, *labels, "--alpha", "0.2", "-o", calibration]) == 0
    out = ["--ids", str(root / "unlabelled_ids.txt"), "--out", str(data.root / "pseudo")]
    assert main(["filter", *maps, *out, "--calibration", calibration]) == 0
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(STANDIN / "unimatch", root / "host", ignore=ignored)
    (root / "host" / "fixmatch.py").unlink()
    assert main(["patch", str(root / "host"), "--apply", "--quiet"]) == 0
    cfg = {
        "dataset": "pascal",
        "nclass": CLASSES,
        "data_root": "../data",
        "epochs": 8,
        "lr": 0.001,
        "batch_size": 1,
        "conformal": {
            "pseudo_labels": "../data/pseudo",
            "calibration": "../data/calibration.json",
        },
    }
    (root / "config.yaml").write_text(yaml.safe_dump(cfg))
    return root


@pytest.fixture
def patient(prepared: Path, tmp_path: Path) -> Patient:
    """A copy of the prepared run, to make ill."""
    root = shutil.copytree(prepared, tmp_path / "run")
    return Patient(
        root / "host",
        root / "data",
        root / "config.yaml",
        root / "labelled.txt",
        root / "unlabelled.txt",
    )


def replace_line(path: Path, number: int, line: str) -> None:
    lines = path.read_text().splitlines()
    lines[number] = line
    path.write_text("\n".join(lines) + "\n")


# In order.


def test_a_run_that_is_in_order(patient, run) -> None:
    seen = patient.examine(run)
    assert seen.code == 0
    assert seen.err == ""
    bad = [f for f in seen.findings if f["level"] in ("warning", "error")]
    assert bad == []
    unknown = {f["check"] for f in seen.findings if f["level"] == "not made"}
    assert unknown == {
        "calibrated on no unlabelled photo",
        "unlabelled maps look like the labelled ones",
    }
    texts = " / ".join(f["text"] for f in seen.findings)
    for expected in (
        "nclass is 4",
        "stage I is epochs 0 to 5, stage II epochs 6 to 7",
        "unimatch.py is patched (UniMatch)",
        "the labelled list has 10 photos",
        "no photo is on both lists",
        "all 12 unlabelled photos are there",
        "the labelled masks hold classes 0 ... 3 and 255 alone",
        "every unlabelled photo has a pseudo-label",
        "labels made at alpha 0.2, rule foreground-first, dropped pixels 255",
        "the labels were made with this calibration",
        "On average over calibration sets about 80 %",
        "(heuristic, per pixel, pixel-marginal)",
        "the calibration counted as many images as the labelled list has, 10",
    ):
        assert expected in texts


def test_every_check_has_its_name_and_runs(patient, run) -> None:
    names = [one.__name__.replace("_", " ") for one in all_checks()]
    assert len(names) == len(set(names)) >= 20
    assert all(one.__doc__ for one in all_checks())
    quiet = {"numbers that yaml takes for text", "ignore index is no class"}
    quiet |= {"traps in the scripts", "labelled and unlabelled are alike"}
    quiet |= {"masks that are read as brightness"}
    assert {f["check"] for f in patient.examine(run).findings} == set(names) - quiet


def test_the_printed_report(patient, run) -> None:
    patient.configure(nclass=3)
    done = run("doctor", patient.host, "--config", patient.config)
    assert done.code == 2
    assert done.out.index("ok (") < done.out.index("not made (") < done.out.index("error (")
    assert "  - the calibration has 4 classes and the config nclass 3\n    -> " in done.out
    assert "  - --labeled-id-path was not given: labelled list, lists do not overlap" in done.out
    assert "  - --unlabeled-id-path was not given: unlabelled list" in done.out
    assert done.err == (
        "conformal-plugin doctor: errors: 1, warnings: 0; repair the errors before this run "
        "starts\n"
    )
    quiet = run("doctor", patient.host, "--config", patient.config, "--quiet")
    assert quiet.out.startswith("error (1)\n")


def test_nothing_is_written_or_imported(patient, run) -> None:
    before = {p: p.stat().st_mtime_ns for p in patient.host.parent.rglob("*")}
    modules = set(sys.modules)
    patient.examine(run)
    assert {p: p.stat().st_mtime_ns for p in patient.host.parent.rglob("*")} == before
    assert not {"dataset", "dataset.semi", "unimatch"} & (set(sys.modules) - modules)


def test_lists_are_found_as_the_host_finds_them(patient, run, monkeypatch) -> None:
    """From the shell's folder as typed, or from the folder that the script starts in."""
    monkeypatch.chdir(patient.host.parents[1])
    shutil.copy(patient.labelled, patient.host / "splits.txt")
    patient.labelled = Path("splits.txt")
    assert patient.examine(run).code == 0


def test_a_sample_says_so_and_is_the_same_every_time(patient, run) -> None:
    first = patient.examine(run, "--sample", 5).findings
    assert patient.examine(run, "--sample", 5).findings == first
    texts = " / ".join(f["text"] for f in first)
    assert "the labelled masks can be read (5 of 10)" in texts
    assert "(pseudo-labels: 5 of 12)" in texts
    assert "all 12 unlabelled photos are there" in texts


# The config.


@pytest.mark.parametrize(
    ("key", "value"), [("nclass", None), ("nclass", 1), ("nclass", "21"), ("epochs", 0)]
)
def test_numbers_of_the_config(patient, run, key, value) -> None:
    patient.configure(**{key: value})
    finding = patient.only(run, "whole numbers of the config", "error")
    assert finding["text"].startswith(f"{key} is {value!r}, expected a whole number from")
    assert f"`{key}: " in finding["remedy"]


@pytest.mark.parametrize("value", [None, "nowhere", 3])
def test_data_root(patient, run, value) -> None:
    patient.configure(data_root=value)
    assert str(value) in patient.only(run, "data root", "error")["text"]
    seen = patient.examine(run).findings
    reasons = {f["check"]: f["text"] for f in seen if f["level"] == "not made"}
    assert reasons["labelled files"] == "the config names no data_root that is there"


def test_scientific_notation_is_text_in_yaml(patient, run) -> None:
    patient.config.write_text(patient.config.read_text().replace("lr: 0.001", "lr: 1e-3"))
    finding = patient.only(run, "numbers that yaml takes for text", "error")
    assert finding["text"] == "lr: 1e-3 is text to YAML, not a number"
    assert "lr: 0.001" in finding["remedy"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pseudo_label": "x"}, "did you mean 'pseudo_labels'?"),
        ({"pseudo_labels": "nowhere"}, "expected a folder"),
        ({"stage1_epochs": 9}, "stage1_epochs"),
        ({"mode": "both"}, "'replace' or 'add'"),
    ],
)
def test_a_bad_block(patient, run, change, message) -> None:
    patient.conform(**change)
    finding = patient.only(run, "options for conformal labels", "error")
    assert message in finding["text"]
    assert "--print-config" in finding["remedy"]


def test_no_block(patient, run) -> None:
    patient.configure(conformal=None)
    finding = patient.only(run, "options for conformal labels", "error")
    assert "the config has no conformal: key" in finding["text"]


def test_an_ignore_index_that_is_a_class(patient, run) -> None:
    patient.conform(ignore_index=3)
    finding = patient.only(run, "ignore index is no class", "error")
    assert finding["text"] == "ignore_index is 3, which is one of the 4 classes"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"stage1_epochs": 0}, "stage1_epochs is 0: no epoch learns"),
        ({"stage1_epochs": 8}, "stage1_epochs is 8, all of them"),
        ({"weight": 0}, "weight is 0"),
    ],
)
def test_stages(patient, run, change, expected) -> None:
    patient.conform(**change)
    assert expected in patient.only(run, "stages", "warning")["text"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "is not plain YAML"),
        ("a: !!python/object/apply:os.getcwd []", "is not plain YAML"),
        ("- a", "expected the config"),
        (b"\xff\xfe", "cannot read the config"),
        (None, "cannot read the config"),
    ],
)
def test_configs_that_cannot_be_read(patient, run, content, message) -> None:
    if content is None:
        patient.config.unlink()
    else:
        patient.config.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = run("doctor", patient.host, "--config", patient.config)
    assert done.code == 2
    assert message in done.err


# The scripts.


def test_a_script_that_is_not_patched(patient, run) -> None:
    assert run("patch", patient.host, "--undo").code == 0
    finding = patient.only(run, "scripts are patched", "error")
    assert "unimatch.py is not patched" in finding["text"]
    assert f"patch {patient.host} --script unimatch.py --apply" in finding["remedy"]


def test_beside_a_patched_script_one_that_is_not_is_a_warning(patient, run) -> None:
    shutil.copy(STANDIN / "unimatch" / "fixmatch.py", patient.host)
    assert "fixmatch.py" in patient.only(run, "scripts are patched", "warning")["text"]
    alone = patient.examine(run, "--script", "unimatch.py").findings
    assert not any("fixmatch.py" in f["text"] for f in alone)


def test_a_script_whose_inserted_lines_were_edited(patient, run) -> None:
    path = patient.host / "unimatch.py"
    path.write_text(path.read_text().replace("conformal.watch(loader, epoch)", "loader"))
    finding = patient.only(run, "scripts are patched", "error")
    assert "are not those of this release, or were edited" in finding["text"]


def test_a_folder_without_a_known_script(patient, run) -> None:
    (patient.host / "unimatch.py").unlink()
    finding = patient.only(run, "scripts are patched", "not made")
    assert "no script that is known" in finding["text"]


def test_traps_depend_on_the_config(patient, run) -> None:
    shutil.copy(STANDIN / "corrmatch" / "corrmatch.py", patient.host)
    source = (patient.host / "corrmatch.py").read_text()
    lines = [n for n, line in enumerate(source.splitlines(), 1) if "nclass=" in line]
    finding = patient.only(run, "traps in the scripts", "error")
    assert f"corrmatch.py, line {lines[0]}, `" in finding["text"]
    assert "cfg['nclass']" in finding["remedy"]
    patient.configure(nclass=21)
    seen = [f for f in patient.examine(run).findings if f["check"] == "traps in the scripts"]
    assert {f["level"] for f in seen} == {"warning"}
    assert any("torchrun" in f["remedy"] for f in seen)


# The lists.


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


# What masks and pseudo-labels hold.


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


# Settings and calibration.


def test_labels_that_filter_did_not_make(patient, run) -> None:
    (patient.data / "pseudo" / "labels.json").unlink()
    finding = patient.only(run, "settings of the pseudo labels", "warning")
    assert "nothing is known of their threshold" in finding["text"]


def test_another_ignore_index_in_the_labels(patient, run) -> None:
    patient.settings(ignore_index=254)
    finding = patient.only(run, "settings of the pseudo labels", "error")
    assert finding["remedy"] == "write ignore_index: 254 under conformal:"


def test_labels_of_another_threshold(patient, run) -> None:
    patient.settings(qhat=0.123)
    finding = patient.only(run, "labels are of this calibration", "error")
    assert "another threshold" in finding["text"]


def test_raw_labels_are_not_the_calibrations(patient, run) -> None:
    patient.settings(qhat=None, alpha=None, rule=None)
    finding = patient.only(run, "labels are of this calibration", "error")
    assert "the annotator's raw ones (argmax)" in finding["text"]


def test_labels_of_another_rule_than_the_promise_is_for(patient, run) -> None:
    patient.calibration(rule="singleton")
    finding = patient.only(run, "labels are of this calibration", "error")
    assert finding["remedy"] == "filter again with --rule singleton"


def test_a_calibration_of_other_classes(patient, run) -> None:
    patient.configure(nclass=5)
    finding = patient.only(run, "calibration fits the run", "error")
    assert finding["text"] == "the calibration has 4 classes and the config nclass 5"


def test_a_calibration_that_says_nothing(patient, run) -> None:
    patient.calibration(qhat=1.0)
    patient.settings(qhat=1.0)
    finding = patient.only(run, "calibration fits the run", "error")
    assert "puts every class into every prediction set" in finding["text"]


@pytest.mark.parametrize(("images", "hint"), [(11, "it saw others"), (9, "counted 9 images")])
def test_a_calibration_of_other_photos(patient, run, images, hint) -> None:
    patient.calibration(n_images=images)
    finding = patient.only(run, "calibrated on the labelled photos", "warning")
    assert hint in finding["text"]


def test_an_exact_promise_is_called_exact(patient, run) -> None:
    guarantee = Calibration.load(patient.data / "calibration.json").guarantee
    patient.calibration(guarantee=dataclasses.replace(guarantee, exact=True, unit="image"))
    finding = patient.only(run, "what the calibration promises", "ok")
    assert "(exact, per image," in finding["text"]


def test_a_calibration_that_is_damaged(patient, run) -> None:
    (patient.data / "calibration.json").write_text("{}")
    finding = patient.only(run, "calibration can be read", "error")
    assert "calibration.json" in finding["text"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nowhere", "--config", "c"], "is not a folder"), ([".", "--config", "c", "--sample", "0"],
     "--sample must be")],
)  # fmt: skip
def test_bad_usage(tmp_path, monkeypatch, run, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("doctor", *arguments)
    assert done.code == 2
    assert message in done.err


@pytest.mark.real
def test_real_photos(voc, tmp_path, run) -> None:
    """The labelled photos of voc-animals, and conformal labels of 40 unlabelled ones."""
    host = tmp_path / "host"
    host.mkdir()
    shutil.copy(STANDIN / "unimatch" / "unimatch.py", host)
    assert run("patch", host, "--apply").code == 0
    lists = {}
    for name, count in (("labeled_92", 92), ("unlabeled_345", 40)):
        ids = (voc / "splits" / f"{name}.txt").read_text().split()[:count]
        lines = [f"images/{i}.jpg labels/{i}.png" for i in ids]
        lists[name] = tmp_path / f"{name}.txt"
        lists[name].write_text("\n".join(lines) + "\n")
    maps = ("--maps", voc / "probs", "--quiet")
    calibrated = run(
        "calibrate", *maps, "--labels", voc / "labels", "--ids", lists["labeled_92"],
        "--alpha", 0.2, "-o", tmp_path / "calibration.json",
    )  # fmt: skip
    assert calibrated.code == 0
    filtered = run(
        "filter", *maps, "--ids", lists["unlabeled_345"], "--out", tmp_path / "pseudo",
        "--calibration", tmp_path / "calibration.json",
    )  # fmt: skip
    assert filtered.code == 0
    cfg = {"dataset": "pascal", "nclass": 21, "epochs": 80, "data_root": str(voc)}
    cfg["conformal"] = {"pseudo_labels": "../pseudo", "calibration": "../calibration.json"}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(cfg))
    patient = Patient(host, voc, tmp_path / "c.yaml", *lists.values())
    seen = patient.examine(run)
    assert seen.code == 0
    assert [f["check"] for f in seen.findings if f["level"] == "warning"] == [
        "classes that are kept"
    ]
    (kept,) = [f["text"] for f in seen.findings if f["check"] == "pixels that are kept"]
    assert 70 < float(kept.split()[0]) < 90


def test_masks_that_the_host_renumbers(patient, run) -> None:
    for path in (patient.data / "labels").glob("*.png"):
        values = np.array(Image.open(path))
        write_label(path, np.where(values == 255, 0, values + 1).astype(np.uint8))
    patient.only(run, "true masks hold classes", "error")
    patient.only(run, "true masks hold classes", "ok", "--label-map", "reduce-zero-label")


def test_labels_in_the_numbers_of_the_masks(patient, run) -> None:
    patient.settings(own_numbers="0=ignore,1=0")
    found = patient.only(run, "settings of the pseudo labels", "error")
    assert "without --own-numbers" in found["remedy"]
