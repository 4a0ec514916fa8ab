"""What can be wrong with the host's scripts."""

from __future__ import annotations

import shutil
from pathlib import Path

STANDIN = Path(__file__).parents[2] / "adapters" / "standin"


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
