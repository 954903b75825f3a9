"""Table 5 is written down twice, as the paper prints it and in the experiments; both must agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from iter_lightning.studies.tables.published import published
from iter_lightning.studies.tables.table5 import differences, hyperparameters
from iter_lightning.training.extends import merged


@pytest.mark.parametrize("corpus", published()["table5"])
def test_experiments_have_the_hyperparameters_that_the_paper_prints(corpus: str) -> None:
    experiments = Path(__file__).parents[3] / "experiments"
    ours = hyperparameters(merged(experiments / f"{corpus}.yaml"))
    assert differences(published()["table5"][corpus], ours) == []
