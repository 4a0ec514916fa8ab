"""A run that is killed goes on where it stopped and ends in the same result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from conformal_plugin import Calibration
from conformal_plugin.files import read_label, write_label

IMAGES = 30

KILL_IN_CALIBRATE = """
import os, signal, sys
from conformal_plugin import Calibrator
from conformal_plugin.cli import _checkpoint, main
_checkpoint.EVERY_IMAGES = 5
update, calls = Calibrator.update, []
def dying(self, *arguments):
    calls.append(1)
    if len(calls) == 18:
        os.kill(os.getpid(), signal.SIGKILL)
    update(self, *arguments)
Calibrator.update = dying
main(sys.argv[1:])
"""

KILL_IN_FILTER = """
import os, signal, sys
from PIL import Image
from conformal_plugin.cli import main
save, calls = Image.Image.save, []
def dying(self, handle, **options):
    calls.append(1)
    if len(calls) == 18:
        handle.write(b"half a file")
        handle.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, handle, **options)
Image.Image.save = dying
main(sys.argv[1:])
"""


def killed(program, *arguments):
    if os.name == "nt":
        pytest.skip("there is no SIGKILL on Windows")
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture
def many(tmp_path, make_data):
    return make_data(tmp_path / "many", IMAGES)


@pytest.fixture
def reads(monkeypatch):
    """The maps that are read from now on."""
    from conformal_plugin.files import MapReader

    read, seen = MapReader.__call__, []

    def reading(self, path):
        seen.append(path.stem)
        return read(self, path)

    monkeypatch.setattr(MapReader, "__call__", reading)
    return seen


def calibrate_arguments(data, output):
    return [
        *("calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list),
        *("--alpha", 0.1, "-o", output),
    ]


def test_calibrate_goes_on_after_a_kill(many, run, reads):
    output, partial = many.root / "c.json", many.root / "c.json.partial.npz"
    killed(KILL_IN_CALIBRATE, *calibrate_arguments(many, output))
    assert partial.exists()
    assert not output.exists()
    done = run(*calibrate_arguments(many, output))
    assert done.code == 0, done.err
    assert f"going on from {partial}: 15 of 30 done" in done.err
    assert reads == many.ids[15:]
    assert not partial.exists()
    run(*calibrate_arguments(many, many.root / "whole.json"))
    assert Calibration.load(output) == Calibration.load(many.root / "whole.json")


def test_an_unfinished_calibration_of_other_settings_is_refused(many, run):
    output = many.root / "c.json"
    killed(KILL_IN_CALIBRATE, *calibrate_arguments(many, output))
    done = run(*calibrate_arguments(many, output), "--ignore-index", 77)
    assert done.code == 2
    assert "other settings (ignore_index was 255 and is 77)" in done.err
    assert "delete" in done.err
    many.list.write_text("\n".join(reversed(many.ids)), encoding="utf-8")
    done = run(*calibrate_arguments(many, output))
    assert done.code == 2
    assert "the 15 images counted in it are not the first 15 here" in done.err


def test_a_damaged_checkpoint_is_refused(many, run):
    output = many.root / "c.json"
    (many.root / "c.json.partial.npz").write_bytes(b"nonsense")
    done = run(*calibrate_arguments(many, output))
    assert done.code == 2
    assert "delete it to start anew" in done.err


def test_images_before_a_refused_one_are_not_read_again(many, run, reads):
    output = many.root / "c.json"
    bad = many.maps / "im0020.npz"
    whole = bad.read_bytes()
    bad.write_bytes(b"nonsense")
    assert run(*calibrate_arguments(many, output)).code == 2
    bad.write_bytes(whole)
    reads.clear()
    assert run(*calibrate_arguments(many, output)).code == 0
    assert reads == many.ids[20:]


def test_ctrl_c_keeps_what_was_done(many, run, monkeypatch):
    from conformal_plugin.calibration import Calibrator

    update, calls = Calibrator.update, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        update(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Calibrator, "update", interrupted)
        done = run(*calibrate_arguments(many, many.root / "c.json"))
    assert done.code == 130
    assert "interrupted" in done.err
    done = run(*calibrate_arguments(many, many.root / "c.json"))
    assert "7 of 30 done" in done.err


def filter_arguments(data, *more):
    out = data.root / "out"
    return ["filter", "--maps", data.maps, "--ids", data.list, "--qhat", 0.4, "--out", out, *more]


def test_filter_goes_on_after_a_kill(many, run, reads):
    killed(KILL_IN_FILTER, *filter_arguments(many))
    out = many.root / "out"
    written = sorted(path.stem for path in out.glob("[!.]*.png"))
    assert written == many.ids[:17]
    times = {name: (out / f"{name}.png").stat().st_mtime_ns for name in written}
    assert not (out / "pseudo_labels.txt").exists()
    done = run(*filter_arguments(many, "--json"))
    assert done.code == 0, done.err
    resumed = json.loads(done.out)
    assert (resumed["written"], resumed["already_there"]) == (13, 17)
    assert times == {name: (out / f"{name}.png").stat().st_mtime_ns for name in written}
    assert (out / "pseudo_labels.txt").read_text().split() == many.ids
    again = json.loads(run(*filter_arguments(many, "--json", "--overwrite")).out)
    assert again["written"] == 30
    for name in ("kept", "share_per_class", "images"):
        assert resumed[name] == again[name]


def test_filter_makes_again_what_is_half_or_old(many, run):
    run(*filter_arguments(many))
    out = many.root / "out"
    whole = (out / "im0001.png").read_bytes()
    (out / "im0001.png").write_bytes(whole[:-40])
    np.savez(many.maps / "im0002.npz", probs=np.full((4, 6, 5), 0.1, np.float16))
    done = json.loads(run(*filter_arguments(many, "--json")).out)
    assert done["written"] == 2
    assert (out / "im0001.png").read_bytes() == whole
    assert (read_label(out / "im0002.png") == 255).all()


def test_an_interrupted_overwrite_leaves_no_labels_of_before(many, run):
    run(*filter_arguments(many))
    killed(KILL_IN_FILTER, *filter_arguments(many, "--rule", "singleton", "--overwrite"))
    done = json.loads(run(*filter_arguments(many, "--rule", "singleton", "--json")).out)
    assert (done["written"], done["already_there"]) == (13, 17)


def test_a_killed_calibration_with_another_promise_goes_on_too(many, run):
    output = many.root / "c.json"
    arguments = ("calibrate", "--maps", many.maps, "--labels", many.labels, "--ids", many.list)
    precision = (*arguments, "--guarantee", "precision", "--epsilon", 0.4, "-o", output)
    program = KILL_IN_CALIBRATE.replace(
        "from conformal_plugin import Calibrator",
        "from conformal_plugin import PrecisionCalibrator as Calibrator",
    )
    killed(program, *precision)
    other = run(*arguments, "--guarantee", "image-level", "-o", output)
    assert other.code == 2
    assert "made with other settings (background was 0 and is None, guarantee was" in other.err
    done = run(*precision)
    assert "15 of 30 done" in done.err
    again = run(*precision[:-1], many.root / "whole.json")
    assert again.code == 0
    assert Calibration.load(output) == Calibration.load(many.root / "whole.json")


def test_what_a_refused_run_left_does_not_block_the_mended_one(data, run):
    """A label that is no class is mended by an option; a killed run still holds to its options."""
    output = data.root / "calibration.json"
    last = data.labels / f"{data.ids[-1]}.png"
    values = read_label(last)
    values[1, 1] = 99
    write_label(last, values)
    command = (
        *("calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list),
        *("--alpha", 0.2, "-o", output),
    )
    refused = run(*command)
    assert refused.code == 2
    assert "99" in refused.err
    assert output.with_name("calibration.json.partial.npz").exists()
    mended = run(*command, "--label-map", "99=ignore")
    assert mended.code == 0, mended.err
    assert "beginning anew" in mended.err
    assert not output.with_name("calibration.json.partial.npz").exists()
    assert run(*command).code == 2
    first = data.labels / f"{data.ids[0]}.png"
    write_label(first, read_label(first)[::-1])  # mended by writing files, the first among them
    values[1, 1] = 255
    write_label(last, values)
    assert run(*command).code == 0
