"""Checks of a run before it starts: the trainer's options, and the configuration of a trained model."""

from __future__ import annotations

from typing import Any

import lightning

from iter_lightning.errors import ConfigError
from iter_lightning.training.data import CorpusDataModule
from iter_lightning.training.run import RunFolder, differences, identity


def check_evaluation(trainer: lightning.Trainer) -> None:
    """Check that at least one epoch is trained and evaluated, because otherwise no model would be kept.

    Raises:
        ConfigError: an option prevents it; names the option.
    """
    every, epochs = trainer.check_val_every_n_epoch, trainer.max_epochs
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if getattr(trainer, name) == 0:
            raise ConfigError(f"trainer.{name} 0 leaves nothing to train")
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        value = getattr(trainer, name)
        if value is not None and value < 1:
            raise ConfigError(f"trainer.{name} must be at least 1, found {value}")
    if trainer.limit_val_batches == 0:
        raise ConfigError("trainer.limit_val_batches 0 leaves no dev score to choose the best model by")
    if every is not None and epochs is not None and 0 < epochs < every:
        raise ConfigError(f"trainer.check_val_every_n_epoch {every} is past the last of {epochs} epochs")


def check_interval(trainer: lightning.Trainer, datamodule: CorpusDataModule) -> None:
    """Check that the validation interval is not longer than an epoch.

    Raises:
        ConfigError: it is.
    """
    interval, every = trainer.val_check_interval, trainer.check_val_every_n_epoch
    if not isinstance(interval, int) or interval == 1 or every is None:
        return
    batches = len(datamodule.train_dataloader())
    if interval > batches:
        raise ConfigError(f"trainer.val_check_interval {interval} is past the last of {batches} training batches")


def check_trained(folder: RunFolder, config: dict[str, Any], datamodule: CorpusDataModule) -> None:
    """Check that the model of a run was trained with this configuration and these types.

    Args:
        folder: the run folder.
        config: the resolved configuration of this command.
        datamodule: the data of this command.

    Raises:
        ConfigError: the configurations or types differ; lists the differences.
    """
    before, now = (identity(each) for each in (folder.manifest.get("config", {}), config))
    if before["data"].get("init_args", {}).get("test") is None:
        now["data"]["init_args"].pop("test", None)  # the test split of a custom corpus may be added later
    for name in ("compile", "packing"):  # these affect training only
        before.get("model", {}).pop(name, None)
        now["model"].pop(name, None)
    changed = [line for part in ("data", "model") for line in differences(before.get(part), now.get(part), part)]
    if changed and before.get("model"):
        raise ConfigError(
            f"{folder.path} was trained with another configuration; differences:\n  " + "\n  ".join(changed)
        )
    trained = folder.model_config["schema"]
    if trained != datamodule.schema.to_dict():
        raise ConfigError(
            f"{folder.path} was trained for other types than {datamodule.title()} has: {trained} there, "
            f"{datamodule.schema.to_dict()} now"
        )
