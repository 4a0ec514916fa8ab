"""A damaged file gives equal values or a typed error that names it: never others, never another."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EACH = 300
SURVEY = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "mutations.py"))
KINDS = SURVEY["KINDS"]


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_damaged_file(tmp_path: Path, kind) -> None:
    if not kind.is_read:
        pytest.skip(f"needs the extra formats ({kind.needs})")
    found = SURVEY["outcomes"](kind, tmp_path, EACH)
    assert SURVEY["is_well"](kind, found), found
    assert found["refused"] > 0
