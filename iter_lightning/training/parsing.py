"""LightningCLI for this project: parsing, checks, and the Trainer with its callbacks; `cli` adds the verbs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.io import CheckpointIO

from iter_lightning.errors import ConfigError
from iter_lightning.training.building import check_values, trainer_error
from iter_lightning.training.callbacks import BestModel, EpochLine, PredictionTable
from iter_lightning.training.checkpoints import WholeCheckpointIO, check_checkpoint
from iter_lightning.training.loggers import logger_specs
from iter_lightning.training.options import LINKED, add_project_options
from iter_lightning.training.results import PredictionFile, TestResults
from iter_lightning.training.run import RunFolder
from iter_lightning.training.summary import LearningRates, RunSummary


class ProjectCLI(LightningCLI):
    """LightningCLI with the project's options, links, callbacks, and run folder; `IterCLI` adds the verbs."""

    folder: RunFolder
    """The folder of the run."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Do nothing: `run_verb` runs the verb, so that a configuration can be built without running it."""

    def run_verb(self) -> None:
        """Run the parsed verb."""
        super()._run_subcommand(str(self.subcommand))

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Build a parser that raises errors instead of exiting; `build_cli` turns them into one line."""
        return super().init_parser(exit_on_error=False, **kwargs)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse and check the arguments, without LightningCLI's warning that `args` differ from the process's.

        Raises:
            IterError: a value is wrong, or the checkpoint cannot be read, which LightningCLI would not report.
        """
        self.config = parser.parse_args(args)
        check_values(self.config[self.config.subcommand].as_dict())
        given = self.config[self.config.subcommand].get("ckpt_path")
        if given and self.config.subcommand != "fit":
            raise ConfigError("give --run_dir, the folder of a run, instead of --ckpt_path")
        if given and given != "last":
            check_checkpoint(given, "give --ckpt_path a checkpoint that `fit` wrote, or leave it out")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the project's options and links."""
        for name in LINKED:
            parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")
        add_project_options(parser)

    def before_instantiate_classes(self) -> None:
        """Determine the run folder and check the loggers."""
        config = self.config[self.subcommand]
        seed = config.seed_everything
        self.folder = RunFolder(config.run_dir or Path("runs") / config.experiment / f"seed{seed}")
        logger_specs(config.trainer.logger)

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        """Build a trainer with the callbacks of the verb; loggers are added when the run starts."""
        trainer_config = {**self.config_init[self.subcommand].get("trainer", {}), **kwargs}
        extra: list[lightning.Callback] = []
        if trainer_config.get("enable_progress_bar") is not False:
            extra.append(TQDMProgressBar() if sys.stderr.isatty() else EpochLine())
        if self.subcommand == "fit":
            extra += [BestModel(self.folder), PredictionTable(), LearningRates(), RunSummary(self.folder)]
            extra.append(self._checkpoint())
        elif self.subcommand == "test":
            extra += [TestResults(self.folder)]
        elif self.subcommand == "predict":
            extra += [PredictionFile(self.folder)]
        # the project's callbacks come first: `BestModel` exports before `MovingAverage` swaps the weights back
        trainer_config["callbacks"] = [*extra, *(trainer_config.get("callbacks") or [])]
        plugins = trainer_config.get("plugins") or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            trainer_config["plugins"] = [*plugins, WholeCheckpointIO()]
        trainer_config["default_root_dir"] = str(self.folder.path)
        trainer_config["logger"] = False  # loggers are added when the run starts
        try:
            return lightning.Trainer(**trainer_config)
        except Exception as error:  # Lightning raises several kinds of errors
            raise trainer_error(error, trainer_config) from error

    def _checkpoint(self) -> ModelCheckpoint:
        return ModelCheckpoint(
            dirpath=self.folder.last_checkpoint.parent, filename="last", save_top_k=1, enable_version_counter=False,
            save_on_train_epoch_end=True,
        )  # fmt: skip

    def resolved_config(self) -> dict[str, Any]:
        """Return the resolved configuration as plain values."""
        found: dict[str, Any] = yaml.safe_load(
            self._parser(self.subcommand).dump(self.config[self.subcommand], skip_check=True)
        )
        return found
