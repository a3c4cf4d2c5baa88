"""Fixtures for all tests. Importing the package first applies the process settings before Paddle is imported."""

import os
from pathlib import Path

import pytest

import ernie_from_scratch  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real corpora; tests that use it carry `@pytest.mark.real_data`."""
    named = os.environ.get("EFS_REAL_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set EFS_REAL_DATA to the folder that holds it")
    return folder
