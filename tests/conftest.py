"""Modes: `pytest` (fast), `pytest -m corpora` (reads real corpora from ITER_DATA), `pytest -m slow` (trains)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the first import of transformers: no test needs a network
settings.register_profile("iter", deadline=None, max_examples=100, derandomize=True, database=None)
settings.load_profile("iter")


@pytest.fixture(scope="session")
def corpora_dir() -> Path:
    """The folder of real corpora, one sub-folder a corpus; skips where it is absent."""
    folder = Path(os.environ.get("ITER_DATA", "data"))
    if not folder.is_dir():
        pytest.skip(f"no corpora in {folder.absolute()}: set ITER_DATA or run `python -m iter_lightning prepare`")
    return folder
