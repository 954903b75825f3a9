"""Loggers besides W&B: named by `--trainer.logger`, built when a run starts, with files in the run folder."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch import loggers
from lightning.pytorch.loggers import Logger, WandbLogger

from iter_lightning.errors import ConfigError

LoggerOption = bool | str | dict[str, Any] | list[str | dict[str, Any]] | None
_FOLDERS = ("save_dir", "root_dir")
"""Options of loggers for the folder of their files."""
_EXAMPLE = "expected a name (CSVLogger), {class_path: CSVLogger, init_args: {...}}, or a list of them"


class TrainerOptions(lightning.Trainer):
    """Lightning's Trainer as declared on the command line; loggers are built only when a run starts.

    Args:
        logger: loggers besides W&B, by name or class path (CSVLogger), or {class_path, init_args}, or a list of them;
            true is Lightning's default logger. They record training, by default in the run folder.
        options: all other options of Lightning's Trainer.
    """

    def __init__(self, *, logger: LoggerOption = None, **options: Any) -> None:
        super().__init__(logger=False, **options)


class LoggerSpec:
    """The class and options of a logger, checked before anything is created.

    Args:
        value: an item of `--trainer.logger`.

    Raises:
        ConfigError: the class does not exist, is not a logger, or is W&B's, or an option does not exist.
    """

    def __init__(self, value: Any) -> None:
        content = {"class_path": value} if isinstance(value, str) else value
        name = content.get("class_path") if isinstance(content, dict) else None
        if not isinstance(name, str):
            raise ConfigError(f"trainer.logger: found {value!r:.200}; {_EXAMPLE}")
        self.name = name
        own = {key: item for key, item in content.items() if key not in ("class_path", "init_args")}
        given = content.get("init_args")
        if not isinstance(given, dict | None):
            raise ConfigError(f"trainer.logger: {name}: init_args: expected keys and values, found {given!r:.80}")
        self.options: dict[str, Any] = {**own, **(given or {})}
        self.type = _class_of(name)
        try:
            inspect.signature(self.type).bind_partial(**self.options)
        except TypeError as error:
            raise ConfigError(f"trainer.logger: {name}: {error}") from error

    def build(self, folder: Path) -> Logger:
        """Build the logger; its files go into `folder` unless its options name another folder.

        Raises:
            ConfigError: it cannot be built, for instance because its package is not installed.
        """
        takes = inspect.signature(self.type).parameters
        default = folder / "mlruns" if self.name.rpartition(".")[2] == "MLFlowLogger" else folder
        places = {key: str(default) for key in _FOLDERS if key in takes}
        try:
            return self.type(**{**places, **self.options})
        except Exception as error:  # each logger raises its own errors
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(f"trainer.logger: {self.name} cannot be used: {reason}") from error


def logger_specs(value: LoggerOption) -> list[LoggerSpec]:
    """Check the value of `--trainer.logger`, and return its loggers.

    Raises:
        ConfigError: see `LoggerSpec`.
    """
    if value is None or value is False:
        return []
    if value is True:
        return [LoggerSpec("CSVLogger" if _tensorboard_is_missing() else "TensorBoardLogger")]
    return [LoggerSpec(item) for item in (value if isinstance(value, list) else [value])]


def _tensorboard_is_missing() -> bool:
    return not any(map(importlib.util.find_spec, ("tensorboard", "tensorboardX")))


def _class_of(name: str) -> type[Logger]:
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module) if module else loggers, attribute, None)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"trainer.logger: {name} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Logger)) or found is Logger:
        known = ", ".join(sorted(set(loggers.__all__) - {"Logger", "WandbLogger"}))
        raise ConfigError(f"trainer.logger: {name!r:.80} is not a logger; expected one of {known}, or a class path")
    if issubclass(found, WandbLogger):
        raise ConfigError("trainer.logger: W&B has options of its own: --wandb.mode, --wandb.project, --wandb.tags")
    return found
