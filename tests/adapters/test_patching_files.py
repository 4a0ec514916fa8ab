"""The edit on disk: all or nothing, nothing lost, and safe to repeat after a kill at any point."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from conformal_plugin.adapters.patching import (
    Change,
    _script_files as script_files,
    backups,
    drop_backups,
    find_script,
    write_all,
)
from conformal_plugin.adapters.patching._script_files import BACKUP
from conformal_plugin.errors import SourceFileError

OLD, NEW = b"old\r\n", b"old\r\nnew\r\n"


class Killed(BaseException):
    """Stands for SIGKILL: nothing may run after it, so the code under test is patched around it."""


@pytest.fixture
def scripts(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("a.py", "b.py", "c.py")]
    for path in paths:
        path.write_bytes(OLD)
    return paths


def changes(scripts: list[Path]) -> list[Change]:
    return [Change(path, OLD, NEW) for path in scripts]


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_all_are_written_with_a_backup_each(scripts, tmp_path) -> None:
    copies = write_all(changes(scripts), keep_backups=True)
    assert [copy.name for copy in copies] == [f"{name}.py{BACKUP}" for name in "abc"]
    assert listing(tmp_path) == {f"{n}.py": NEW for n in "abc"} | {
        f"{n}.py{BACKUP}": OLD for n in "abc"
    }


@pytest.mark.skipif(os.name == "nt", reason="files have no such modes on Windows")
def test_the_mode_is_kept(scripts) -> None:
    scripts[0].chmod(0o755)
    scripts[1].chmod(0o440)
    (copy, _, _) = write_all(changes(scripts), keep_backups=True)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (*scripts[:2], copy)]
    assert modes == [0o755, 0o440, 0o755]


def test_a_script_that_changed_meanwhile_stops_all(scripts, tmp_path) -> None:
    scripts[1].write_bytes(b"mine\n")
    with pytest.raises(SourceFileError, match=r"b\.py has changed since it was read"):
        write_all(changes(scripts), keep_backups=True)
    assert listing(tmp_path) == {"a.py": OLD, "b.py": b"mine\n", "c.py": OLD}


def test_what_was_written_is_put_back_where_one_fails(scripts, tmp_path, monkeypatch) -> None:
    replace = script_files._replace

    def full_disk(path: Path, content: bytes, like: Path | None = None) -> None:
        if path.name == "b.py":
            raise OSError(28, "No space left on device")
        replace(path, content, like)

    monkeypatch.setattr(script_files, "_replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_all(changes(scripts), keep_backups=False)
    assert listing(tmp_path) == {"a.py": OLD, "b.py": OLD, "c.py": OLD}


def test_an_older_backup_that_differs_stays(scripts) -> None:
    first = scripts[0].with_name(f"a.py{BACKUP}")
    first.write_bytes(b"older\n")
    for number in ("", ".1", ".1"):  # the second call finds the copy that the first one made
        copies = write_all([Change(scripts[0], OLD, NEW)], keep_backups=True)
        assert copies[0].name == f"a.py{BACKUP}.1"
        assert number in copies[0].name
        scripts[0].write_bytes(OLD)
    assert first.read_bytes() == b"older\n"
    assert [path.name for path in backups(scripts[0])] == [f"a.py{BACKUP}", f"a.py{BACKUP}.1"]
    assert drop_backups(scripts[0]) == [first]
    assert backups(scripts[0]) == [first]


@pytest.mark.parametrize("calls", range(6))
def test_killed_between_any_two_writes_the_same_call_goes_on(
    scripts, tmp_path, monkeypatch, calls
) -> None:
    """Three backups and three scripts are written: killed before each of the six in turn."""
    replace, done = script_files._replace, []

    def counted(path: Path, content: bytes, like: Path | None = None) -> None:
        if len(done) >= calls:
            raise Killed  # nothing is put back either: every later write is refused
        replace(path, content, like)
        done.append(path)

    monkeypatch.setattr(script_files, "_replace", counted)
    with pytest.raises(Killed):
        write_all(changes(scripts), keep_backups=True)
    monkeypatch.setattr(script_files, "_replace", replace)
    found = listing(tmp_path)
    assert len(done) == calls
    assert all(found[path.name] in (OLD, NEW) for path in scripts)
    assert sum(found[path.name] == NEW for path in scripts) == max(0, calls - 3)

    left = [Change(path, OLD, NEW) for path in scripts if path.read_bytes() == OLD]
    write_all(left, keep_backups=True)
    assert {n: listing(tmp_path)[f"{n}.py"] for n in "abc"} == dict.fromkeys("abc", NEW)
    assert all(path.with_name(path.name + BACKUP).read_bytes() == OLD for path in scripts)


def test_what_a_kill_left_half_written_is_swept(scripts, tmp_path) -> None:
    half = tmp_path / f".a.py.{'0a' * 16}.tmp"
    half_backup = tmp_path / f".a.py{BACKUP}.1.{'0b' * 16}.tmp"
    other = tmp_path / f".ab.py.{'0a' * 16}.tmp"
    for path in (half, half_backup, other):
        path.write_bytes(b"ol")
    write_all(changes(scripts[:1]), keep_backups=False)
    assert not half.exists()
    assert not half_backup.exists()
    assert other.exists()


def test_links_are_followed_inside_the_folder_alone(scripts, tmp_path) -> None:
    inside, outside = tmp_path / "host", tmp_path / "a.py"
    (inside / "real").mkdir(parents=True)
    (inside / "real" / "own.py").write_bytes(OLD)
    (inside / "link.py").symlink_to(Path("real") / "own.py")
    (inside / "shared.py").symlink_to(outside)
    (inside / "gone.py").symlink_to(tmp_path / "nowhere.py")
    path = find_script(inside, "link.py")
    assert path == (inside / "real" / "own.py").resolve()
    write_all([Change(path, OLD, NEW)], keep_backups=True)
    assert (inside / "link.py").is_symlink()
    assert (inside / "link.py").read_bytes() == NEW
    assert (inside / "real" / f"own.py{BACKUP}").exists()
    with pytest.raises(SourceFileError, match=r"shared\.py leads out of .*which other folders may"):
        find_script(inside, "shared.py")
    for name in ("gone.py", "real", "nothing.py"):
        with pytest.raises(SourceFileError, match=f"there is no script {name}"):
            find_script(inside, name)
    with pytest.raises(SourceFileError, match="leads out of"):
        find_script(inside, "../a.py")
    # The folder itself may be a link.
    (tmp_path / "alias").symlink_to(inside)
    assert find_script(tmp_path / "alias", "link.py") == path


def test_a_folder_that_cannot_be_written(scripts, tmp_path, monkeypatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(PermissionError):
        write_all(changes(scripts), keep_backups=True)
    assert listing(tmp_path) == {f"{name}.py": OLD for name in "abc"}
