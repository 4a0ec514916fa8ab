"""To a repository and back by huggingface_hub's own client, with a Hub that runs in this test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub_stand_in import Hub, hub_running

from conformal_plugin.errors import SourceFileError
from conformal_plugin.hub import Shared, share

pytest.importorskip("huggingface_hub")

THERE_AND_BACK = """
import json, sys
from pathlib import Path
from conformal_plugin.errors import SourceFileError
from conformal_plugin.hub import Shared
folder, alone, out = map(Path, sys.argv[1:])
address = Shared.from_pretrained(folder).push_to_hub("me/labels", token="hf_x", private=True)
again = Shared.from_pretrained(address, token="hf_x")
bare = Shared.from_pretrained(alone).push_to_hub("me/thresholds", token="hf_x")
kept = Shared.from_pretrained(bare, token="hf_x", revision="main", local_dir=out)
print(json.dumps({
    "address": address,
    "bare": bare,
    "qhat": again.calibration.qhat,
    "labels": sorted(p.name for p in again.labels.rglob("*.png")),
    "kept": str(kept.folder),
    "alone": kept.labels,
}))
try:
    Shared.from_pretrained("me/nothing", token="hf_x")
except SourceFileError as error:
    print(error, file=sys.stderr)
"""


def client(hub: Hub, home: Path, code: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process whose Hub is this one: the client reads its address when it starts."""
    settings = {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**kept, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_there_and_back(tmp_path: Path, shared: Path, made: SimpleNamespace) -> None:
    alone = tmp_path / "alone"
    share(alone, made.file)
    (alone / "notes.txt").write_text("not meant for others")
    with hub_running() as hub:
        hub.files["datasets/me/labels"] = {"labels/old.png": b"of an earlier calibration"}
        done = client(hub, tmp_path / "home", THERE_AND_BACK, shared, alone, tmp_path / "got")
    said = json.loads(done.stdout)
    assert (said["address"], said["bare"]) == ("datasets/me/labels", "me/thresholds")
    assert said["qhat"] == made.calibration.qhat
    assert said["labels"] == ["im0.png", "im1.png", "im2.png"]
    assert (said["kept"], said["alone"]) == (str(tmp_path / "got"), None)
    assert hub.created["datasets/me/labels"].get("type") == "dataset"
    assert "rivate" in str(hub.created["datasets/me/labels"])
    for name, folder in (("datasets/me/labels", shared), ("models/me/thresholds", alone)):
        paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".txt")
        there = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        assert hub.files[name] == there
    assert "me/nothing is no folder here, and cannot be fetched" in done.stderr
    assert [str(asked) for asked in hub.validated if "license: cc-by-4.0" in asked["content"]]


def test_what_a_repository_holds_beside_is_not_fetched(
    tmp_path: Path, shared: Path, made: SimpleNamespace
) -> None:
    files = {p.relative_to(shared).as_posix(): p.read_bytes() for p in shared.rglob("*.*")}
    code = "import sys; from conformal_plugin.hub import Shared; Shared.from_pretrained('a/b')"
    with hub_running() as hub:
        hub.files["models/a/b"] = {**files, "model.py": b"raise SystemExit(3)", "w.bin": b"x"}
        client(hub, tmp_path / "home", code)
    fetched = {asked.rsplit("/", 1)[1] for asked in hub.asked if "/resolve/" in asked}
    assert fetched == {path.rsplit("/", 1)[-1] for path in files}


def test_a_folder_that_changed_is_not_pushed(shared: Path) -> None:
    taken = Shared.from_pretrained(shared)
    (shared / "labels" / "of" / "im0.png").write_bytes(b"x")
    with pytest.raises(SourceFileError, match="is not the file that was shared"):
        taken.push_to_hub("me/labels")
