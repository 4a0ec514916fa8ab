"""The host study: what is prepared, run, gone on with and printed, a script in a host's place."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import host_study
import host_table
import numpy as np
import pytest
import yaml
from host_process import BusyError, alone_in
from host_run import epochs_of
from PIL import Image

from conformal_plugin.files import read_label, write_label

ROOT = Path(__file__).resolve().parents[2]
GPU = ROOT / "benchmarks" / "gpu" / "host_study.sh"
STANDINS = Path(__file__).resolve().parents[1] / "adapters" / "standin"
# Prints what a host does: the better, the more of the labels that it was given are right.
RUNNER = """\
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image


def read_label(path):
    return np.asarray(Image.open(path))


host, script, seed, *rest = sys.argv[1:]
given = dict(zip(rest[::2], rest[1::2]))
config = yaml.safe_load(open(given["--config"]))
assert (Path(host) / script).is_file() and Path(given["--labeled-id-path"]).is_file()
patched = "conformal" in (Path(host) / script).read_text()
assert patched == ("conformal" in config)
labelled = open(given["--labeled-id-path"]).read().splitlines()
assert len(set(labelled)) == 8
root, value = Path(config["data_root"]), 20.0
corrmatch = script == "corrmatch.py"
lists = Path(host, "partitions" if corrmatch else "splits")
assert (lists / "pascal/val.txt").read_text().startswith("JPEGImages/")
if patched:
    pairs = [line.split() for line in open(given["--unlabeled-id-path"])]
    labels = Path(config["conformal"]["pseudo_labels"])
    right = [
        (read_label(labels / f"{Path(mask).stem}.png") == read_label(root / mask)).mean()
        for _, mask in pairs
    ]
    value += 50 * float(np.mean(right))
if Path(host, "fails").exists() and seed == "1":
    sys.exit(3)
for epoch in range(config["epochs"]):
    print(f"INFO ===========> Epoch: {epoch}, LR: 0.1, Previous best: 0.00")
    if corrmatch:
        iou = np.full(3, (value + epoch + int(seed)) / 100)
        print(f"***** Evaluation original ***** >>>> meanIOU: {100 * iou.mean():.4f} \\n")
        print(f"***** ClassIOU ***** >>>> \\n{iou}\\n")
        continue
    print("Iters: 3, Total loss: 1.0, Mask ratio: 0.250")
    for one in range(3):
        print(f"***** Evaluation ***** >>>> Class [{one} x y] IoU: {value + epoch + int(seed):.2f}")
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Options of a study of a bed of made-up photos."""
    rng = np.random.default_rng(0)
    bed = tmp_path / "bed"
    for folder in ("images", "labels", "probs", "splits"):
        (bed / folder).mkdir(parents=True)
    splits = {"labeled_8": range(8), "unlabeled_4": range(8, 12), "test_2": range(12, 14)}
    for name, numbers in splits.items():
        (bed / f"splits/{name}.txt").write_text("".join(f"p{n:02d}\n" for n in numbers))
    for number in range(14):
        truth = rng.integers(0, 3, (4, 5), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(np.stack([truth * 80] * 3, -1)).save(bed / f"images/p{number:02d}.jpg")
        write_label(bed / f"labels/p{number:02d}.png", truth)
        scores = rng.random((3, 32, 40)) * 0.4 + 0.3 * (truth == np.arange(3)[:, None, None])
        scores[0] += 0.2  # over-confident of the background
        np.savez(bed / f"probs/p{number:02d}.npz", probs=scores.astype(np.float16))
    host = tmp_path / "host"
    shutil.copytree(STANDINS / "unimatch", host)
    (host / "supervised.py").write_text("pass\n")
    (tmp_path / "runner.py").write_text(RUNNER)
    (tmp_path / "recipe.yaml").write_text("dataset: pascal\nnclass: 3\nepochs: 3\n")
    given = {"host": host, "data": bed, "out": tmp_path / "out", "side": "40", "seeds": "2"}
    given |= {"config": tmp_path / "recipe.yaml"}
    runner = f"'{sys.executable}' '{tmp_path / 'runner.py'}' {{host}} {{script}} {{seed}}"
    return [*(f"--{name}={value}" for name, value in given.items()), f"--runner={runner}"]


def test_a_study_from_start_to_finish_and_again(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["supervised", "host", "default", "raw", "ceiling"]
    assert host_study.main([*arguments, "--rows", *rows]) == 0
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if line.startswith("|")]
    assert lines[2] == "| labels only, as its script has it | 2 | 22.0 ± 0.7 | +0.0 ± 0.0 |"
    assert lines[3] == "| the host alone | 2 | 22.0 ± 0.7 | - |"
    assert lines[-1] == "| + true masks | 2 | 72.0 ± 0.7 | +50.0 ± 0.0 |"
    place = tmp_path / "out" / "bed-all-40-as-is-fixmatch"
    assert "host,0,0,20.0,0.25," in (place / "results.csv").read_text()
    times = {path: path.stat().st_mtime_ns for path in place.rglob("result.json")}
    assert len(times) == 10
    assert host_study.main([*arguments, "--rows", *rows]) == 0
    assert times == {path: path.stat().st_mtime_ns for path in place.rglob("result.json")}
    capsys.readouterr()
    assert host_study.main([*arguments, "--table"]) == 0
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.startswith("|")] == lines
    assert "over all classes of the test photos, mean over the last 2 of 3 epochs" in shown


def test_a_folder_as_the_readme_has_it(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["--rows", "default", "--seeds=1"]
    assert host_study.main([*arguments, *rows]) == 0
    as_before = capsys.readouterr().out
    bed = tmp_path / "bed"
    (bed / "images").rename(bed / "photos")
    lists = {"labelled": "labeled_8", "unlabelled": "unlabeled_4", "held_out": "test_2"}
    for name, was in lists.items():
        (bed / "splits" / f"{was}.txt").rename(bed / f"{name}.txt")
    Image.open(bed / "photos/p00.jpg").save(bed / "photos/p00.b.png")  # another photo's name
    shutil.rmtree(tmp_path / "out")
    assert host_study.main([*arguments, *rows]) == 0
    assert capsys.readouterr().out == as_before


def test_unlabelled_photos_without_masks(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bed/labels/p09.png").unlink()
    assert host_study.main([*arguments, "--rows", "host", "ceiling", "--seeds=1"]) == 0
    said = capsys.readouterr().out
    assert "| the host alone | 1 |" in said
    assert "true masks |" not in said
    assert "Row 'ceiling' is left out: not every unlabelled photo has a mask, p09 has none" in said
    (place,) = (tmp_path / "out" / "data").iterdir()
    assert (read_label(place / "SegmentationClass/p09.png") == 255).all()


def test_a_folder_that_cannot_be_used(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("nclass: 3", "nclass: 21"))
    assert host_study.main(arguments) == 1
    assert "has nclass 21, and the maps of" in capsys.readouterr().err
    recipe.write_text(recipe.read_text().replace("nclass: 21\n", ""))
    (tmp_path / "bed/images/p00.jpg").unlink()
    assert host_study.main(arguments) == 1
    assert "expected one photo p00 in" in capsys.readouterr().err
    (tmp_path / "bed/splits/test_2.txt").unlink()
    assert host_study.main(arguments) == 1
    assert "held_out.txt or splits/test_<number>.txt in" in capsys.readouterr().err


def test_a_run_that_fails_is_named_and_run_again(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "host" / "fails").touch()
    assert host_study.main([*arguments, "--rows", "host"]) == 1
    said = capsys.readouterr()
    assert "host-1: exit 3, see " in said.err
    assert "| the host alone | 1 | 21.5 | - |" in said.out
    for place in (tmp_path / "out").rglob("fails"):
        place.unlink()
    assert host_study.main([*arguments, "--rows", "host"]) == 0
    assert "| the host alone | 2 | 22.0 ± 0.7 | - |" in capsys.readouterr().out


def test_labels_that_are_refused_make_no_run(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "bed" / "probs").iterdir():  # scores that tell nothing
        noise = np.random.default_rng(0).random((3, 32, 40)).astype(np.float16)
        np.savez(path, probs=noise)
    assert host_study.main([*arguments, "--rows", "host", "default"]) == 0
    said = capsys.readouterr().out
    assert "+ conformal labels" not in said
    assert "Row 'default' is left out: " in said
    assert "calibrate all the same" in said


def test_a_host_without_a_script_of_labels_only(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CorrMatch is one."""
    (tmp_path / "host" / "supervised.py").unlink()
    rows = ["--rows", "supervised", "supervised-as-long", "host", "--seeds=1"]
    assert host_study.main([*arguments, *rows]) == 0
    said = capsys.readouterr().out
    assert "labels only" not in said.split("Row ")[0]
    assert "| the host alone | 1 |" in said
    for row in ("supervised", "supervised-as-long"):
        assert f"Row '{row}' is left out: {tmp_path / 'host'} has no supervised.py" in said


def test_self_training_is_ended_by_a_threshold_that_no_pixel_reaches(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["--rows", "default", "default-then-labelled", "--seeds=1"]
    assert host_study.main([*arguments, *rows]) == 0
    said = capsys.readouterr().out
    assert "then labelled photos alone |" not in said
    assert "Row 'default-then-labelled' is left out: the recipe has no conf_thresh" in said
    shutil.rmtree(tmp_path / "out")
    with (tmp_path / "recipe.yaml").open("a") as recipe:
        recipe.write("conf_thresh: 0.95\n")
    assert host_study.main([*arguments, *rows]) == 0
    assert "+ conformal labels, then labelled photos alone | 1 |" in capsys.readouterr().out
    folder = next((tmp_path / "out").glob("bed*")) / "runs"
    usual, ended = (
        yaml.safe_load((folder / f"{row}-0/config.yaml").read_text())
        for row in ("default", "default-then-labelled")
    )
    assert ended.pop("conf_thresh") > 1 > usual.pop("conf_thresh") == 0.95
    assert ended == usual


def test_the_commands_of_its_page(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "host-study.md").read_text(encoding="utf-8")
    shell = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)[0].replace("\\\n", " ")
    commands = [shlex.split(line, comments=True) for line in shell.splitlines()]
    first, table, of_all = (words[1:] for words in commands if words)
    given = dict(one.split("=", 1) for one in arguments)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "host").rename(tmp_path / "UniMatch")
    (tmp_path / "bed").rename(tmp_path / "data")
    (tmp_path / "UniMatch" / "configs").mkdir()
    (tmp_path / "recipe.yaml").rename(tmp_path / "UniMatch" / "configs" / "pascal.yaml")
    first[first.index("--runner") + 1] = given["--runner"]
    for words, more in (first, ["--rows", "host", "--seeds=1"]), (table, []):
        assert words[0] == "examples/host_study.py"
        assert host_study.main([*words[1:], *more]) == 0
    assert of_all[0] == "examples/host_table.py"
    assert host_table.main(of_all[1:]) == 0
    assert (tmp_path / "here/runs/host_study.csv").is_file()
    assert (tmp_path / "here/runs/host_study.svg").is_file()


def test_what_it_says_on_the_way(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["--rows", "host", "raw"]
    assert host_study.main([*arguments, *rows, "--seeds=1"]) == 0
    said = capsys.readouterr().err
    assert "host-0 begins; its log is " in said
    assert "host-0: epoch 3 of 3, mIoU 22.0" in said
    assert "host-0: done" in said
    assert "next, in the YAML" not in said  # what patch tells who patches by hand
    assert host_study.main([*arguments, *rows]) == 0
    assert "2 of 4 runs are known" in capsys.readouterr().err
    (log,) = (tmp_path / "out").rglob("raw-1/log.txt")
    (log.parent / "result.json").unlink()  # as a run that was stopped leaves it
    log.write_text("==> Epoch: 0, \n>>>> Class [0 a] IoU: 1.5\n")
    assert host_study.main([*arguments, *rows]) == 0
    assert "raw-1 goes on after epoch 1 of 3" in capsys.readouterr().err
    unseeded = [one.replace(" {seed}", " 0") for one in arguments]
    assert host_study.main([*unseeded, *rows]) == 0
    assert "warning: --runner has no {seed}" in capsys.readouterr().err


def test_a_run_without_an_epoch_is_not_done(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = [one for one in arguments if not one.startswith("--runner")]
    silent.append(f"--runner='{sys.executable}' -c pass {{host}}")
    assert host_study.main([*silent, "--rows", "host", "--seeds=1"]) == 1
    said = capsys.readouterr()
    assert "host-0: exit 0, and no epoch with the IoU of its classes in " in said.err
    assert "| --- |" not in said.out
    assert host_study.main([*arguments, "--rows", "host", "--seeds=1"]) == 0
    assert "| the host alone | 1 | 21.5 | - |" in capsys.readouterr().out
    # The first attempt took time, too.
    (path,) = (tmp_path / "out").rglob("host-0/attempts.json")
    assert len(json.loads(path.read_text())) == 2


def test_a_table_is_read_alone_and_of_this_study(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert host_study.main([*arguments, "--table"]) == 1
    assert "no finished run of this study in " in capsys.readouterr().err
    assert host_study.main([*arguments, "--rows", "host"]) == 0
    (csv,) = (tmp_path / "out").rglob("results.csv")
    before = csv.read_bytes()
    capsys.readouterr()
    assert host_study.main([*arguments, "--table", "--classes", "1", "2", "--seeds=1"]) == 0
    shown = capsys.readouterr().out
    assert "| the host alone | 2 |" in shown
    assert "over classes 1 2 of the test photos" in shown
    assert csv.read_bytes() == before
    assert host_study.main([*arguments, "--table", "--classes", "9"]) == 1
    assert "--classes 9: the maps of " in capsys.readouterr().err
    # Another recipe, other photos, other code: none of these is what lies there.
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("epochs: 3", "epochs: 2"))
    for more in (["--table"], ["--rows", "host"]):
        assert host_study.main([*arguments, *more]) == 1
        assert "holds runs of another study (recipe was " in capsys.readouterr().err
    recipe.write_text(recipe.read_text().replace("epochs: 2", "epochs: 3"))
    (tmp_path / "host" / "another.py").touch()
    assert host_study.main([*arguments, "--table"]) == 1
    assert "host's code was " in capsys.readouterr().err


def test_a_class_that_the_host_does_not_evaluate(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = tmp_path / "runner.py"
    runner.write_text(runner.read_text().replace("range(3)", "range(2)"))
    assert host_study.main([*arguments, "--rows", "host", "--seeds=1", "--classes", "2"]) == 1
    assert "--classes 2: the host's log has the IoU of classes 0, 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--host": "nowhere"}, "holds no script fixmatch.py; name a clone of the host"),
        ({"--config": "nowhere.yaml"}, "--config nowhere.yaml: no such file in "),
        ({"--runner": "nosuch {host}"}, "--runner: cannot start 'nosuch' ("),
        ({"--runner": "run {hosts}"}, "cannot be filled in (KeyError: 'hosts'); it may have"),
    ],
)
def test_mistakes_of_the_command(
    change: dict[str, str], said: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (name,) = change
    given = [one for one in arguments if not one.startswith(f"{name}=")]
    more = [f"{name}={change[name]}", "--rows", "host", "--seeds=1"]
    assert host_study.main([*given, *more]) == 1
    assert said in capsys.readouterr().err


def test_corrmatch_which_has_lists_and_words_of_its_own(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "host")
    shutil.copytree(STANDINS / "corrmatch", tmp_path / "host")
    (tmp_path / "host" / "partitions").mkdir()
    given = ["--script", "corrmatch.py", "--rows", "host", "ceiling"]
    assert host_study.main([*arguments, *given]) == 0
    said = capsys.readouterr().out
    assert "| the host alone | 2 | 22.0 ± 0.7 | - |" in said
    assert "| + true masks | 2 | 72.0 ± 0.7 | +50.0 ± 0.0 |" in said


@pytest.mark.skipif(os.name == "nt", reason="signals, and locks on folders")
def test_a_study_that_is_ended_ends_its_runs_and_a_killed_ones_are_not_joined(
    arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "waits.py").write_text(
        "import os, pathlib, sys, time\n"
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    told = tmp_path / "pid"
    given = [one for one in arguments if not one.startswith("--runner")]
    given += ["--rows", "host", "--seeds=1"]
    waiting = [*given, f"--runner='{sys.executable}' '{tmp_path / 'waits.py'}' '{told}'"]
    study = [sys.executable, host_study.__file__, *waiting]

    def at_work() -> tuple[subprocess.Popen[str], int]:
        told.unlink(missing_ok=True)
        process = subprocess.Popen(study, stderr=subprocess.PIPE, text=True)
        while not (told.is_file() and told.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        return process, int(told.read_text())

    process, run = at_work()
    process.send_signal(signal.SIGTERM)
    assert "stopped; the same command goes on from here" in process.communicate()[1]
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(run, 0)
    (spent,) = (tmp_path / "out").rglob("attempts.json")
    assert json.loads(spent.read_text())[0][0] > 0  # what it took until then is known

    process, run = at_work()
    process.kill()
    process.communicate()
    again = subprocess.run(study, stderr=subprocess.PIPE, text=True, check=False)
    assert again.returncode == 1
    assert "host-0: another process is at work in " in again.stderr
    assert len(json.loads(spent.read_text())) == 2
    os.kill(run, signal.SIGKILL)
    (place,) = (tmp_path / "out").glob("bed*/runs/host-0")
    while True:  # until the kernel has taken it away
        with contextlib.suppress(BusyError), alone_in(place):
            break
    assert host_study.main([*arguments, "--rows", "host", "--seeds=1"]) == 0


def test_classes_over_several_lines() -> None:
    shares = [*np.linspace(0, 1, 20), 1 / 3]
    log = f"==> Epoch: 0, \n***** ClassIOU ***** >>>> \n{np.array(shares)}\n\n"
    assert log.count("\n") > 4
    iou = epochs_of(log)["0"]["iou"]
    assert list(iou) == [str(one) for one in range(21)]
    np.testing.assert_allclose(list(iou.values()), 100 * np.array(shares), atol=1e-5)


def test_an_epoch_that_was_begun_again_counts_as_it_ended() -> None:
    log = "==> Epoch: 0, \n>>>> Class [0 a] IoU: 1.5\n==> Epoch: 1, \nkilled\n"
    again = "==> Epoch: 1, \nMask ratio: 0.5\n>>>> Class [0 a] IoU: 2.50\n"
    assert epochs_of(log) == {"0": {"iou": {"0": 1.5}}}
    assert epochs_of(log + again)["1"] == {"mask_ratio": 0.5, "iou": {"0": 2.5}}


def test_without_a_runner_it_says_so(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        host_study.main([one for one in arguments if not one.startswith("--runner")])
    assert "--runner: how a script is started" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_the_script_for_a_gpu_plans_its_epochs(arguments: list[str], tmp_path: Path) -> None:
    given = ["--rows", "host", "default", "--seeds=1", "--as-it-is", "--epochs=7", "--jobs=2"]
    done = subprocess.run(
        ["bash", str(GPU), *arguments, *given],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs of 7 epochs, 2 at a time" in done.stderr
    assert "| the host alone | 1 | 25.5 | - |" in done.stdout
    lines = (tmp_path / "out" / "host_study.csv").read_text("utf-8").splitlines()
    assert len(lines) == 1 + 2 * 7
    assert (tmp_path / "out" / "host_study.svg").is_file()


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "expected the weights of the host's backbone at "),
        (["--as-it-is", "--minutes=0.001"], "the trials were not done in time"),
    ],
)
def test_the_script_for_a_gpu_says_what_stops_it(
    given: list[str], said: str, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text("dataset: pascal\nepochs: 3\nbackbone: none\n")
    for module in ("torchvision", "tensorboard", "tqdm"):
        (tmp_path / "modules" / module).mkdir(parents=True)
        (tmp_path / "modules" / module / "__init__.py").touch()
    paths = os.pathsep.join([str(tmp_path / "modules"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        ["bash", str(GPU), *arguments, *given],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": paths},
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert not list((tmp_path / "out").rglob("result.json"))
