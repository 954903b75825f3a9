"""Many runs: plans and launchers, tables and figures of the paper, hyperparameter sweeps, the W&B dashboard."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iter_lightning.studies.runs.plan import TablePlan, load_plan, select
    from iter_lightning.studies.runs.stored import StoredRun, load_runs
    from iter_lightning.studies.sweeps.config import SweepConfig, load_sweep

__all__ = ["StoredRun", "SweepConfig", "TablePlan", "load_plan", "load_runs", "load_sweep", "select"]
_MODULES = {
    "StoredRun": "runs.stored", "SweepConfig": "sweeps.config", "load_runs": "runs.stored",
    "load_sweep": "sweeps.config",
}  # fmt: skip
"""The module of each name, below the package; `runs.plan` holds the others."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that reading a plan does not import SMAC."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"iter_lightning.studies.{_MODULES.get(name, 'runs.plan')}"), name)
