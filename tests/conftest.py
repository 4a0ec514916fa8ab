"""Fixtures that every test folder shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Timing varies on shared machines: examples are bounded in number, never by the clock.
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def voc() -> Path:
    """The voc-animals folder: real photos, masks and an annotator's probability maps."""
    folder = Path(os.environ.get("VOC_ANIMALS", ROOT.parent / "shared" / "data" / "voc-animals"))
    if not (folder / "probs").is_dir():
        message = f"no real photos at {folder}: set VOC_ANIMALS to a folder laid out as voc-animals"
        if os.environ.get("REQUIRE_REAL_DATA"):
            pytest.fail(message)
        pytest.skip(message)
    return folder
