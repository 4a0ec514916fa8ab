"""``conformal-plugin annotate``: maps or labels of every photo, resumable, alone or in ranks."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformal_plugin import Calibration, calibrate
from conformal_plugin.annotators import BACKGROUND_RULES
from conformal_plugin.cli import _annotate_arguments as annotate_arguments
from conformal_plugin.files import MapStore, map_files, read_label, rounded, write_label
from conformal_plugin.files._store_codec import DEFAULT_PRECISION, PRECISIONS

CLASSES = ("background", "red", "green", "blue")
ANNOTATOR = """
import numpy as np
def scores(photo):
    # Some work whose result depends on the photo alone.
    return np.moveaxis((photo.astype(np.float32) / 255) ** 1.5, 2, 0)
"""


def colours(photo):
    return np.moveaxis((photo.astype(np.float32) / 255) ** 1.5, 2, 0)


def expected(photo, precision=11):
    scores = colours(photo)
    return rounded(np.concatenate([1 - scores.max(axis=0, keepdims=True), scores]), precision)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Nine photos, a list of classes and an annotator in the current folder."""
    rng = np.random.default_rng(4)
    photos = {}
    for number in range(9):
        coarse = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
        photo = np.repeat(np.repeat(coarse, 5 + number, axis=0), 6, axis=1)
        photos[f"p{number}"] = photo
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(photo).save(tmp_path / "photos" / f"p{number}.png")
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    (tmp_path / "my_annotator.py").write_text(ANNOTATOR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    yield argparse.Namespace(root=tmp_path, photos=photos)
    for name in ("my_annotator", "own_annotator", "wrong_annotator"):
        sys.modules.pop(name, None)


def arguments(*more, out="maps"):
    return [
        *("annotate", "--photos", "photos", "--annotator", "my_annotator:scores"),
        *("--classes", "classes.txt", "--out", out, *more),
    ]


def contents(folder):
    """Every file but the record of labels, which holds the times of theirs."""
    return {
        path.name: path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and path.name != "labels.done"
    }


def test_every_photo_gets_its_map(work, run):
    done = run(*arguments("--json"))
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert (summary["written"], summary["already_there"], summary["skipped"]) == (9, 0, {})
    store = MapStore.open("maps")
    assert store.class_names == CLASSES
    assert store.annotator["background"] == "complement"
    assert store.ids() == tuple(work.photos)
    for name, photo in work.photos.items():
        np.testing.assert_array_equal(store.read(name), expected(photo))


def test_what_is_there_is_kept(work, run, monkeypatch):
    run(*arguments("--batch-size", 2))
    before = {p.name: p.stat().st_mtime_ns for p in Path("maps").iterdir()}
    Path("maps/p3.cpmap").write_bytes(Path("maps/p3.cpmap").read_bytes()[:-1])
    Path("maps/p7.cpmap").unlink()
    summary = json.loads(run(*arguments("--batch-size", 2, "--json")).out)
    assert (summary["written"], summary["already_there"]) == (2, 7)
    after = {p.name: p.stat().st_mtime_ns for p in Path("maps").iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"p3.cpmap", "p7.cpmap"}
    for name, photo in work.photos.items():
        np.testing.assert_array_equal(MapStore.open("maps").read(name), expected(photo))


def test_maps_serve_calibrate_and_labels_in_one_pass_are_those_of_filter(work, run):
    assert run(*arguments()).code == 0
    for name, photo in work.photos.items():
        truth = expected(photo).argmax(axis=0).astype(np.uint8)
        truth[:, :5] = 1
        write_label(f"labels/{name}.png", truth)
    done = run(
        *("calibrate", "--maps", "maps", "--labels", "labels", "--alpha", 0.3, "-o", "c.json"),
    )
    assert done.code == 0, done.err
    maps = list(map_files("maps", list(work.photos)))
    truths = [read_label(f"labels/{name}.png") for name in work.photos]
    assert Calibration.load("c.json").qhat == calibrate(maps, truths, 0.3).qhat
    two = ["filter", "--maps", "maps", "--calibration", "c.json", "--out", "two"]
    assert run(*two, "--photos", "photos").code == 0
    done = run(*arguments("--calibration", "c.json", "--json", out="one"))
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    for name in work.photos:
        np.testing.assert_array_equal(read_label(f"one/{name}.png"), read_label(f"two/{name}.png"))
    lines = Path("one/pseudo_labels.txt").read_text()
    assert lines.replace("one/", "two/") == Path("two/pseudo_labels.txt").read_text()
    assert not list(Path("one").glob("*.cpmap"))
    labels = np.concatenate([read_label(f"one/{name}.png").ravel() for name in work.photos])
    assert summary["kept"] == pytest.approx((labels != 255).mean())
    Path("one/p4.png").unlink()
    again = json.loads(run(*arguments("--calibration", "c.json", "--json", out="one")).out)
    assert (again["written"], again["already_there"], again["kept"]) == (1, 8, summary["kept"])


def test_labels_of_another_annotator_are_refused(work, run):
    made = calibration(work)
    assert run(*arguments("--calibration", made, out="labels")).code == 0
    source = Path("my_annotator.py")
    source.write_text(source.read_text().replace("1.5", "1.4"))
    sys.modules.pop("my_annotator")
    import linecache

    linecache.checkcache()
    done = run(*arguments("--calibration", made, out="labels"))
    assert done.code == 2
    assert "other settings" in done.err


def calibration(work):
    maps = [expected(photo) for photo in work.photos.values()]
    truths = [m.argmax(axis=0) for m in maps]
    calibrate(maps, truths, 0.2).save("c.json")
    return "c.json"


def test_maps_of_another_annotator_are_refused(work, run):
    assert run(*arguments()).code == 0
    before = contents("maps")
    done = run(*arguments("--background-rule", "prompt"))
    assert done.code == 2
    assert 'annotator.background was "complement" and is "prompt"' in done.err
    done = run(*arguments("--precision", 16))
    assert done.code == 2
    assert "precision was 11 and is 16" in done.err
    assert contents("maps") == before


def test_a_corrupt_photo_is_skipped_and_listed(work, run):
    whole = Path("photos/p2.png").read_bytes()
    Path("photos/p2.png").write_bytes(whole[: len(whole) // 2])
    Path("photos/p5.png").write_bytes(b"")
    done = run(*arguments("--batch-size", 4, "--json"))
    assert done.code == 0
    summary = json.loads(done.out)
    assert summary["written"] == 7
    assert sorted(summary["skipped"]) == ["p2", "p5"]
    assert "2 photos could not be annotated" in done.err
    assert "photos/p5.png" in done.err
    assert not Path("maps/p2.cpmap").exists()
    Path("photos/p2.png").write_bytes(whole)
    summary = json.loads(run(*arguments("--batch-size", 4, "--json")).out)
    assert (summary["written"], list(summary["skipped"])) == (1, ["p5"])
    np.testing.assert_array_equal(MapStore.open("maps").read("p2"), expected(work.photos["p2"]))


def test_no_readable_photo_is_an_error(work, run):
    for path in Path("photos").iterdir():
        path.write_bytes(b"nonsense")
    done = run(*arguments())
    assert done.code == 2
    assert "none of the 9 photos could be annotated" in done.err


@pytest.mark.parametrize("line", ["../photos/p1", "/etc/passwd", "a/../../p1"])
def test_ids_cannot_leave_the_photos(work, run, line):
    Path("ids.txt").write_text(f"p1\n{line}\n")
    done = run(*arguments("--ids", "ids.txt"))
    assert done.code == 2
    assert "stays inside its folder" in done.err
    assert not Path("maps").exists()


def test_an_id_list_with_folders_and_pairs(work, run):
    Path("photos/deep").mkdir()
    Path("photos/p8.png").rename("photos/deep/p8.png")
    Path("ids.txt").write_text("deep/p8\nJPEGImages/p1.png SegmentationClass/p1.png\np1\n")
    done = run(*arguments("--ids", "ids.txt"))
    assert done.code == 0
    assert "1 ids are listed more than once" in done.err
    assert MapStore.open("maps").ids() == ("deep/p8", "p1")


def test_an_environment_that_is_no_ranks(work, run, monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = run(*arguments())
    assert done.code == 2
    assert "RANK=2, WORLD_SIZE=2" in done.err
    assert not Path("maps").exists()


def test_under_torchrun(work, run):
    assert run(*arguments("--batch-size", 2)).code == 0
    program = Path(sys.executable).with_name("conformal-plugin")
    if not program.exists():
        pytest.skip(f"the command is not installed beside {sys.executable}")
    # On a port of its own.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launch, "--no-python", program, *arguments("--batch-size", 2, out="shared")]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "rank 0 of 2: 5 maps" in done.stdout
    assert "rank 1 of 2: 4 maps" in done.stdout
    assert contents("shared") == contents("maps")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each killed run is a fork")
def test_fifty_kills_at_random_moments(root):
    program = root / "benchmarks" / "kill_annotate.py"
    command = [sys.executable, program, "--kills", "50", "--photos", "600"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["runs_that_ended_before_their_kill"] <= 25
    assert (result["kills"], result["maps"], result["wrong"]) == (50, 600, [])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--annotator", "nonsense"], "must be transformers, grounded-sam, seem, xdecoder, or MOD"),
        (["--annotator", "no_such_module:f"], "run in the folder of no_such_module.py"),
        (["--annotator", "my_annotator:g"], "has no function 'g'"),
        (["--model", "x"], "--model is not for --annotator my_annotator:scores"),
        (["--annotator", "transformers"], "--annotator transformers needs --model"),
        (["--annotator", "seem", "--config", "x"], "--checkout is missing"),
        (["--classes", "nonsense"], "there is no class list 'nonsense'; name one of voc"),
        (["--classes", "cityscapes", "--background-rule", "prompt"], "has no class named backg"),
        (["--background-rule", "none"], "choose prompt or complement"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--rule", "singleton"], "they need --calibration"),
        (["--photos", "nowhere"], "is not a folder"),
        (["--calibration", "nothing.json"], "nothing.json"),
    ],
)
def test_bad_input_is_told_before_any_work(work, run, more, message):
    done = run(*arguments(*more))
    assert done.code == 2
    assert message in done.err
    assert not Path("maps").exists()


def test_scores_of_a_wrong_shape_or_range_name_the_photo(work, run):
    Path("wrong_annotator.py").write_text(
        "import numpy as np\n"
        "def small(photo): return np.zeros((3, 2, 2), np.float32)\n"
        "def large(photo): return np.full((3, *photo.shape[:2]), 2, np.float32)\n"
    )
    done = run(*arguments("--annotator", "wrong_annotator:small", out="a"))
    assert done.code == 2
    assert "images p0, p1, p2, p3: the annotator gave scores of shape (4, 2, 2)" in done.err
    done = run(*arguments("--annotator", "wrong_annotator:large", out="b"))
    assert done.code == 2
    assert "image p0: scores must lie in [0, 1], got -1 ... 2" in done.err


FAILING = """
import numpy as np
def boolean(photo):
    return np.zeros((3, *photo.shape[:2]), bool)
def nothing(photo):
    return np.zeros((0, *photo.shape[:2]), np.float32)
def memory(photo):
    if photo.shape[0] in (18, 27):
        raise RuntimeError("CUDA out of memory")
    return np.zeros((3, *photo.shape[:2]), np.float32)
"""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("boolean", "images p0, p1, p2, p3: .*masks of true and false.*times its score"),
        ("nothing", r"images p0, p1, p2, p3: .*\(0, 15, 24\) where 3 classes.*give zeros"),
        ("memory", r"images p1: the annotator failed \(RuntimeError: CUDA out of memory\).*--skip"),
    ],
)
def test_a_function_that_fails_names_the_photos(work, run, function, message):
    Path("failing.py").write_text(FAILING)
    done = run(*arguments(), "--annotator", f"failing:{function}", "--quiet")
    assert done.code == 2
    assert re.search(message, done.err)
    assert "Traceback" not in done.err
    sys.modules.pop("failing", None)


def test_photos_on_which_an_annotator_fails_can_be_skipped(work, run):
    Path("failing.py").write_text(FAILING)
    command = (*arguments(), "--annotator", "failing:memory", "--quiet", "--json", "--skip-failing")
    done = run(*command)
    assert done.code == 0, done.err
    content = json.loads(done.out)
    assert content["written"] == 7
    assert content["skipped"] == {"p1": "CUDA out of memory", "p4": "CUDA out of memory"}
    assert json.loads(run(*command).out)["already_there"] == 7
    sys.modules.pop("failing", None)


def test_photos_that_are_to_be_turned(work, run):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = work.photos["p5"]
    Image.fromarray(stored).save("photos/p5.png", exif=exif)
    done = run(*arguments())
    assert done.code == 0, done.err
    assert "EXIF of 1 photos says that they are to be turned (p5)" in done.err
    assert "taken as stored" in done.err
    np.testing.assert_array_equal(MapStore.open("maps").read("p5"), expected(stored))
    mixed = run(*arguments("--follow-exif"))
    assert mixed.code == 2
    assert "follow_exif" in mixed.err
    done = run(*arguments("--follow-exif", out="turned"))
    assert done.code == 0, done.err
    turned = np.ascontiguousarray(np.rot90(stored, -1))
    np.testing.assert_array_equal(MapStore.open("turned").read("p5"), expected(turned))
    Path("p5.txt").write_text("p5\n")
    command = (
        *("filter", "--maps", "turned", "--ids", "p5.txt", "--qhat", 0.9, "--photos", "photos"),
        *("--out", "labels", "--quiet"),
    )
    assert "--follow-exif" in run(*command).err
    assert run(*command, "--follow-exif").code == 0
    assert read_label("labels/p5.png").shape == turned.shape[:2]


def test_an_annotator_of_its_own_brings_its_classes(work, run):
    Path("own_annotator.py").write_text(
        "from conformal_plugin.annotators import FunctionAnnotator\n"
        "from my_annotator import scores\n"
        "annotator = FunctionAnnotator(scores, ('r', 'g', 'b'))\n"
    )
    short = ["annotate", "--photos", "photos", "--annotator", "own_annotator:annotator"]
    assert run(*short, "--out", "maps").code == 0
    assert MapStore.open("maps").class_names == ("r", "g", "b")
    done = run(*short, "--out", "maps", "--classes", "voc")
    assert done.code == 2
    assert "leave --classes out" in done.err


def test_a_calibration_of_other_classes_is_refused(work, run):
    scores = np.random.default_rng(0).random((4, 3, 5, 5))
    calibrate(scores, np.zeros((4, 5, 5), int), 0.2).save("c.json")
    done = run(*arguments("--calibration", "c.json", out="labels"))
    assert done.code == 2
    assert "made with 3 classes and the annotator has 4" in done.err


def test_a_run_without_a_terminal_says_how_far_it_is(work, run, monkeypatch):
    from conformal_plugin.cli import _annotate_command as annotate_command

    monkeypatch.setattr(annotate_command, "NOTE_SECONDS", 0.0)
    done = run(*arguments("--batch-size", 3))
    assert "note: 9 of 9 photos, " in done.err
    assert " a second, 0 min left" in done.err


def test_the_choices_that_can_be_typed_are_those_of_the_library():
    assert annotate_arguments.BACKGROUND_RULES == BACKGROUND_RULES
    assert annotate_arguments.PRECISIONS == PRECISIONS
    assert DEFAULT_PRECISION == 11


def test_help_has_examples_that_parse(run):
    from conformal_plugin.cli._arguments import build_parser

    text = run("annotate", "--help").out
    assert "torchrun" in text
    assert "exit codes:" in text
    lines = text.replace("\\\n", " ").splitlines()
    examples = [line.split()[1:] for line in lines if line.startswith("  conformal-plugin ")]
    assert len(examples) == 5
    for example in examples:
        assert build_parser().parse_args(example).command == "annotate"


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from conformal_plugin.cli import main; main(['annotate', '--help']); "
        "print([m for m in ('torch', 'numpy', 'PIL', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
