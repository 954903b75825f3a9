"""SMAC asked and told, so that a sweep can be killed and goes on as if it had not been.

What SMAC 2.4 leaves open is closed here. Its proposals come from generators of random numbers whose state no file
keeps, and from the order of a set of configurations, which changes with every Python process. So each proposal draws
from generators of its own, seeded by the sweep's seed and the proposal's place, and sets are sorted: what is proposed
follows from the seed and from what was asked and told before. Configurations that a journal has are not searched for
again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from ConfigSpace import Configuration, ConfigurationSpace
from smac import HyperparameterOptimizationFacade, MultiFidelityFacade, Scenario
from smac.acquisition.maximizer import LocalAndSortedRandomSearch, LocalSearch
from smac.main.config_selector import ConfigSelector
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.model.random_forest import RandomForest
from smac.random_design import ProbabilityRandomDesign
from smac.runhistory import StatusType, TrialInfo, TrialValue

from iter_lightning.studies.sweeps.space import Values, build_space, configuration_of, plain, same

FACADES = ("hpo", "multifidelity")
_MIN_TRIALS = 4
"""Results on one budget from which the surrogate learns; with fewer it learns from the next lower budget."""
_CHALLENGERS = 5000
"""Random configurations of which the best start local searches."""
_TRIES = 1000
"""Proposals that are not new after which the space is taken as exhausted."""
_LEAVES = 2**12
"""Of a tree, more than trials: SMAC's 2**20 makes scikit-learn clear 100 MB a tree."""
_ENDLESS = 10**6
"""SMAC's own limit of trials: out of reach, so that a raised budget changes nothing."""


@dataclass(frozen=True)
class Proposal:
    """What to try next."""

    values: Values
    """Option -> value."""
    budget: float | None = None
    """Epochs as SMAC counts them, a fraction at times; None without budgets."""

    @property
    def key(self) -> str:
        """Equal for equal proposals."""
        return json.dumps([self.values, self.budget], sort_keys=True)


class Search:
    """One SMAC optimiser.

    Args:
        dimensions: of the space.
        facade: `hpo`, or `multifidelity` with budgets of epochs.
        seed: of all its choices.
        initial: configurations of the initial design (Sobol), before the surrogate leads.
        epochs: least and most, for multifidelity.
        recorded: configurations in the order in which they were first asked for: proposed without a search.
    """

    def __init__(
        self, dimensions: dict[str, Any], facade: str, seed: int, initial: int,
        epochs: tuple[int, int] | None = None, recorded: Sequence[Values] = (),
    ) -> None:  # fmt: skip
        logging.getLogger("smac").setLevel(logging.CRITICAL)
        self.space = build_space(dimensions)
        with tempfile.TemporaryDirectory() as folder:  # SMAC insists on writing; the journal is what we keep
            self._smac = _facade(
                self.space, facade, seed, initial, epochs, [configuration_of(self.space, v) for v in recorded], folder
            )
        self._seed: int | None = None
        """Of SMAC's trials; the first it asks for tells it."""
        self._asked: dict[str, TrialInfo] = {}
        self._results: dict[str, TrialValue | None] = {}
        """By proposal; None while it runs."""
        self._held: list[Proposal] = []

    def ask(self) -> Proposal | None:
        """The next proposal that neither runs nor is known; None where the space is exhausted."""
        while (info := self._next()) is not None:
            proposal = Proposal(plain(info.config), info.budget)
            self._asked[proposal.key] = info
            if proposal.key not in self._results:
                self._results[proposal.key] = None
                return proposal
            if (known := self._results[proposal.key]) is not None:
                self._smac.tell(info, known, save=False)
        return None

    def replay(self, asked: Proposal) -> bool:
        """Ask for what was asked for once before; False where SMAC now wants something else."""
        info = self._next()
        if info is None or info.budget != asked.budget or not same(plain(info.config), asked.values):
            return False
        self._asked[asked.key], self._results[asked.key] = info, None
        return True

    def expect(self, running: Proposal) -> None:
        """Do not propose what another optimiser asked for and what still runs."""
        self._results.setdefault(running.key, None)

    def tell(self, proposal: Proposal, cost: float, seconds: float, crashed: bool = False) -> None:
        """The cost of a trial, in [0, 1], whether this optimiser asked for it or not."""
        status = StatusType.CRASHED if crashed else StatusType.SUCCESS
        self._results[proposal.key] = TrialValue(cost=cost, time=seconds, status=status)
        if self._seed is None:  # SMAC would take what it knows before its first trial for half a bracket
            self._held.append(proposal)
        else:
            self._tell(proposal)

    def _next(self) -> TrialInfo | None:
        try:
            info: TrialInfo = self._smac.ask()
        except (StopIteration, ConfigurationSpaceExhaustedException):
            return None
        if self._seed is None:
            self._seed = info.seed
            for proposal in self._held:
                self._tell(proposal)
        return info

    def _tell(self, proposal: Proposal) -> None:
        info = self._asked.get(proposal.key) or TrialInfo(
            configuration_of(self.space, proposal.values), seed=self._seed, budget=proposal.budget
        )
        result = self._results[proposal.key]
        assert result is not None  # `tell` has just set it
        self._smac.tell(info, result, save=False)


class _Selector(ConfigSelector):
    """Recorded configurations first; then each is chosen with generators of its own, seeded by its place.

    Args:
        scenario: SMAC's.
        recorded: what was chosen before, in order.
    """

    def __init__(self, scenario: Scenario, recorded: Sequence[Configuration]) -> None:
        super().__init__(scenario, min_trials=_MIN_TRIALS)
        self._recorded = recorded

    def __iter__(self) -> Iterator[Configuration]:
        chosen: list[Configuration] = []
        for place in count():
            if place < len(self._recorded):
                config = self._recorded[place]
            else:
                self._reseed(place)
                every = islice(super().__iter__(), _TRIES)  # the initial design, then the surrogate's, best first
                drawn = next((config for config in every if config not in chosen), None)
                if drawn is None:
                    raise ConfigurationSpaceExhaustedException
                config = configuration_of(self._scenario.configspace, plain(drawn))  # as a journal would have it
            chosen.append(config)
            yield config

    def _reseed(self, place: int) -> None:
        seed = int.from_bytes(hashlib.sha256(f"{self._scenario.seed}/{place}".encode()).digest()[:4])
        space = self._scenario.configspace
        space.seed(seed)
        maximizer = _maximizer(space, seed)
        assert self._acquisition_function is not None  # the facade has set it
        maximizer.acquisition_function = self._acquisition_function
        self._acquisition_maximizer = maximizer
        self._random_design = ProbabilityRandomDesign(0.2, seed)
        self._previous_entries = -1  # so that the surrogate is trained


class _LocalSearch(LocalSearch):
    """Starts from sorted points; SMAC's come in the order of a set."""

    def _get_init_points_from_previous_configs(self, *args: Any, **options: Any) -> list[Configuration]:
        points = super()._get_init_points_from_previous_configs(*args, **options)
        return sorted(points, key=lambda config: tuple(config.get_array()))


def _maximizer(space: ConfigurationSpace, seed: int) -> LocalAndSortedRandomSearch:
    """The facades' own, over sorted points."""
    maximizer = LocalAndSortedRandomSearch(space, challengers=_CHALLENGERS, local_search_iterations=5, seed=seed)
    maximizer._local_search = _LocalSearch(space, challengers=_CHALLENGERS, seed=seed)
    return maximizer


def _facade(
    space: ConfigurationSpace, facade: str, seed: int, initial: int, epochs: tuple[int, int] | None,
    recorded: Sequence[Configuration], folder: str,
) -> HyperparameterOptimizationFacade:  # fmt: skip
    """SMAC's facade with its usual parts, but for the forest, in which threads cost more than they save."""
    least, most = epochs or (None, None)
    scenario = Scenario(
        space, name="sweep", output_directory=Path(folder), deterministic=True, crash_cost=1.0, n_trials=_ENDLESS,
        seed=seed, min_budget=least, max_budget=most,
    )  # fmt: skip
    parts: dict[str, Any] = {
        "model": RandomForest(
            space, log_y=True, n_trees=10, ratio_features=1.0, min_samples_split=2, min_samples_leaf=1, seed=seed,
            max_leaf_nodes=_LEAVES, n_jobs=1,
        ),
        "initial_design": HyperparameterOptimizationFacade.get_initial_design(scenario, n_configs=initial),
        "acquisition_maximizer": _maximizer(space, seed),
        "config_selector": _Selector(scenario, recorded),
    }  # fmt: skip
    if facade == "multifidelity":
        return MultiFidelityFacade(scenario, logging_level=False, overwrite=True, **parts)
    one = HyperparameterOptimizationFacade.get_intensifier(scenario, max_config_calls=1)
    return HyperparameterOptimizationFacade(scenario, intensifier=one, logging_level=False, overwrite=True, **parts)
