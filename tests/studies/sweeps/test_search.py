"""Proposals: reproducible from a seed, and whole Hyperband brackets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iter_lightning.studies.sweeps.search import Proposal, Search
from iter_lightning.studies.sweeps.space import dimensions
from tests.studies.sweeps.fakes import (
    BATCH,
    RATE,
    SPACE,
)

SEARCH = f"""
from iter_lightning.studies.sweeps.search import Search
search = Search({dimensions(SPACE)!r}, "hpo", 1, 2)
for n in range(4):
    proposal = search.ask()
    print(proposal.key)
    search.tell(proposal, 0.5 + 0.1 * n, 1.0)
"""


@pytest.mark.slow
def test_search_started_twice_with_one_seed_proposes_the_same() -> None:
    env = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(Path.cwd())}
    runs = [
        subprocess.run([sys.executable, "-c", SEARCH], env=env, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(set(runs[0].splitlines())) == 4


def test_result_known_before_the_first_trial_leaves_hyperband_whole() -> None:
    search = Search(dimensions(SPACE), "multifidelity", 1, 3, (1, 9))
    own = {RATE: 1e-4, BATCH: 8, "model.activation": "relu"}
    search.tell(Proposal(own, 9.0), 0.1, 1.0)
    first = search.ask()
    assert first is not None
    assert first.budget == 1.0
    asked = [first]
    for _ in range(8):
        search.tell(asked[-1], 0.5, 1.0)
        asked.append(search.ask() or first)
    assert [proposal.budget for proposal in asked] == [1.0] * 9
    assert len({proposal.key for proposal in asked}) == 9
