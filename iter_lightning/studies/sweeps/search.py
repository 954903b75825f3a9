"""Ask SMAC for hyperparameters to try, and report their results to it, through its public API.

SMAC keeps no state here. A stopped sweep continues by reporting all recorded results to a new optimizer: nothing is
tried twice and everything counts, but the new proposals differ from those of a sweep that was never stopped. A new
sweep repeats its proposals if seed, results and the environment variable PYTHONHASHSEED are the same (SMAC iterates
over sets of configurations).
"""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smac import HyperparameterOptimizationFacade, MultiFidelityFacade, Scenario
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.model.random_forest import RandomForest
from smac.runhistory import StatusType, TrialInfo, TrialValue

from iter_lightning.studies.sweeps.space import Values, build_space, configuration_of, plain

Facade = Literal["hpo", "multifidelity"]
_UNLIMITED = 10**6
"""SMAC's own limit of trials; the sweep counts them."""
_MAX_LEAVES = 2**12
"""Leaves of a tree, more than there are trials; SMAC's default of 2**20 makes each training three times slower."""


@dataclass(frozen=True)
class Proposal:
    """What to try next."""

    values: Values
    """Option -> value."""
    budget: float | None = None
    """Epochs as SMAC counts them, possibly a fraction; None without budgets."""

    @property
    def key(self) -> str:
        """Equal for equal proposals."""
        return json.dumps([self.values, self.budget], sort_keys=True)


class Search:
    """One SMAC optimizer.

    Args:
        dimensions: the search space, see `space.build_space`.
        facade: `hpo`, or `multifidelity` with epochs as budgets.
        seed: seed of the search.
        initial: number of configurations in the initial (Sobol) design, before the surrogate model leads.
        epochs: smallest and largest budget of multifidelity.
    """

    def __init__(
        self, dimensions: dict[str, Any], facade: Facade, seed: int, initial: int,
        epochs: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        logging.getLogger("smac").setLevel(logging.CRITICAL)
        self.space = build_space(dimensions)
        with tempfile.TemporaryDirectory() as folder:  # SMAC insists on an output folder; our journal is the record
            self._smac = _optimizer(facade, initial, Scenario(
                self.space, name="sweep", output_directory=Path(folder), deterministic=True, crash_cost=1.0,
                n_trials=_UNLIMITED, seed=seed, min_budget=epochs and epochs[0], max_budget=epochs and epochs[1],
            ))  # fmt: skip
        self._seed: int | None = None
        """SMAC's seed of all trials, known from its first proposal on."""
        self._asked: dict[str, TrialInfo] = {}
        self._results: dict[str, tuple[Proposal, TrialValue | None]] = {}
        """Key -> proposal and result; no result while it runs."""

    def ask(self) -> Proposal | None:
        """Return a proposal that is neither running nor known; None if the space is exhausted."""
        while (info := self._next()) is not None:
            proposal = Proposal(plain(info.config), info.budget)
            self._asked[proposal.key] = info
            if proposal.key not in self._results:
                self.expect(proposal)
                return proposal
            self._report(proposal.key)
        return None

    def expect(self, running: Proposal) -> None:
        """Do not propose something that runs already."""
        self._results.setdefault(running.key, (running, None))

    def tell(self, proposal: Proposal, cost: float, seconds: float, crashed: bool = False) -> None:
        """Report the cost of a trial, in [0, 1], whether or not this optimizer proposed it."""
        status = StatusType.CRASHED if crashed else StatusType.SUCCESS
        self._results[proposal.key] = (proposal, TrialValue(cost=cost, time=seconds, status=status))
        self._report(proposal.key)

    def _next(self) -> TrialInfo | None:
        try:
            info: TrialInfo = self._smac.ask()
        except (StopIteration, ConfigurationSpaceExhaustedException):
            return None
        if self._seed is None:
            self._seed = info.seed
            for key in self._results:
                self._report(key)
        return info

    def _report(self, key: str) -> None:
        proposal, result = self._results[key]
        # Results from before SMAC's first proposal wait for it: Hyperband would count them as half a bracket.
        if result is not None and self._seed is not None:
            config = configuration_of(self.space, proposal.values)
            info = self._asked.get(key) or TrialInfo(config, seed=self._seed, budget=proposal.budget)
            self._smac.tell(info, result, save=False)


def _optimizer(facade: Facade, initial: int, scenario: Scenario) -> HyperparameterOptimizationFacade:
    """Build SMAC's facade, with a surrogate that learns from every result."""
    hpo = HyperparameterOptimizationFacade
    parts: dict[str, Any] = {
        "initial_design": hpo.get_initial_design(scenario, n_configs=initial),
        "config_selector": hpo.get_config_selector(scenario, retrain_after=1),
        "model": RandomForest(
            scenario.configspace, log_y=True, n_trees=10, ratio_features=1.0, min_samples_split=2, min_samples_leaf=1,
            max_leaf_nodes=_MAX_LEAVES, n_jobs=1, seed=scenario.seed,
        ),
    }  # fmt: skip
    if facade == "multifidelity":
        return MultiFidelityFacade(scenario, logging_level=False, overwrite=True, **parts)
    intensifier = hpo.get_intensifier(scenario, max_config_calls=1)
    return hpo(scenario, intensifier=intensifier, logging_level=False, overwrite=True, **parts)
