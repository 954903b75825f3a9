"""Training with Lightning: the module, a data module a corpus, and the run folder."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iter_lightning.training.cli import parse_config
    from iter_lightning.training.data import CorpusDataModule
    from iter_lightning.training.datamodules import data_modules
    from iter_lightning.training.module import IterModule
    from iter_lightning.training.optim import GroupConfig
    from iter_lightning.training.run import RunFolder

__all__ = ["CorpusDataModule", "GroupConfig", "IterModule", "RunFolder", "data_modules", "parse_config"]
_MODULES = {
    "CorpusDataModule": "data", "GroupConfig": "optim", "IterModule": "module", "RunFolder": "run",
    "data_modules": "datamodules", "parse_config": "cli",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that help pages do not import torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"iter_lightning.training.{_MODULES[name]}"), name)
