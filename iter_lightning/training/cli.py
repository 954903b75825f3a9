"""The verbs `fit`, `validate`, `test`, `predict`, which work in a run folder."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger

from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.heap import return_large_buffers
from iter_lightning.metrics import EvaluationDefinition, format_table
from iter_lightning.model.encoder import weights_digest
from iter_lightning.model.names import resolve_model
from iter_lightning.processes import end_with
from iter_lightning.status import unfinished_note
from iter_lightning.terminal import show_predictions
from iter_lightning.training import datamodules, mixture  # noqa: F401  (their classes are what --data can name)
from iter_lightning.training.building import (
    PARSER_MODE,
    as_config_error,
    quiet,
    set_up_parsing,
)
from iter_lightning.training.checkpoints import check_checkpoint
from iter_lightning.training.checks import check_evaluation, check_interval, check_trained
from iter_lightning.training.data import CorpusDataModule
from iter_lightning.training.extends import file_of, with_extends
from iter_lightning.training.loggers import TrainerOptions, logger_specs
from iter_lightning.training.manifest import describe_data, tokenizer_digest, write_manifest
from iter_lightning.training.module import IterModule
from iter_lightning.training.options import TRAINER_DEFAULTS
from iter_lightning.training.parsing import ProjectCLI
from iter_lightning.training.results import PredictionFile, TestResults
from iter_lightning.training.wandb import finish_wandb, wandb_loggers


class IterCLI(ProjectCLI):
    """The verbs of a run: fit, validate, test, predict."""

    def fit(self, model: IterModule, datamodule: CorpusDataModule, **options: Any) -> None:
        """Train in the run folder, from the start or from its last epoch; a finished run is not run again."""
        config = self.resolved_config()
        self.folder.check(config)
        check_evaluation(self.trainer)
        datamodule.setup()  # reports problems of the corpus or the encoder before anything is written
        data = describe_data(datamodule.title(), datamodule.files(), datamodule.splits(), datamodule.unit)
        origin = {
            "splits": {name: split["sha256"] for name, split in data["splits"].items()},
            "tokenizer_sha256": tokenizer_digest(model.encoder_name),
            "encoder_sha256": weights_digest(model.encoder_name),
        }
        if model.init_from is not None:
            model.label_texts = datamodule.label_texts
            origin["init_sha256"] = self._init_sha256(model.init_from)
        self.folder.check_origin(origin)
        if self.folder.finished:
            print(f"{self.folder.path} contains this run, finished; `test` scores it")
            return
        model.check(self.trainer.strategy.root_device)
        self._resume_from(options)
        self._start_from(model, options)
        loggers = self._prepare(model, datamodule)
        with self.folder.open() if self.trainer.is_global_zero else nullcontext(), self._nothing_left_unless_trained():
            if self.trainer.is_global_zero:
                device = str(self.trainer.strategy.root_device)
                write_manifest(self.folder, model, datamodule, config, data, origin, device)
            tags = [datamodule.title(), model.encoder_name[-64:], datamodule.split_protocol]
            self.trainer.loggers = [*wandb_loggers(config, self.folder.path, tags), *loggers]
            self.trainer.fit(model, datamodule=datamodule, **options)
        if self.trainer.is_global_zero:
            self._print_results("dev")

    def _prepare(self, model: IterModule, datamodule: CorpusDataModule) -> list[Logger]:
        """Build the network, the loggers and the batches, so that errors are found before anything is written.

        Raises:
            IterError: one of them cannot be built.
        """
        model.configure_model()
        datamodule.trainer = self.trainer
        datamodule.connect(model.network.aligner(), model.network.collate)
        datamodule.check_shares()
        check_interval(self.trainer, datamodule)
        return [spec.build(self.folder.path) for spec in logger_specs(self.config[self.subcommand].trainer.logger)]

    @contextmanager
    def _nothing_left_unless_trained(self) -> Iterator[None]:
        """Remove a new run folder if training fails before its first step; report Lightning's refusals in one line.

        Must be entered while the folder is locked.
        """
        new = self.trainer.is_global_zero and self.folder.is_new
        try:
            yield
        except Exception as error:
            if new and self.trainer.global_step == 0:
                finish_wandb()
                self.folder.remove()
            if isinstance(error, MisconfigurationException):
                raise as_config_error(error) from error
            raise

    def _init_sha256(self, init_from: str) -> str | None:
        """Return the digest of the weights to start from, or the recorded one if their folder no longer exists."""
        known: str | None = self.folder.manifest.get("origin", {}).get("init_sha256")
        try:
            return weights_digest(str(resolve_model(init_from)))
        except EncoderError as error:
            if known is None:
                raise ConfigError(f"init_from {init_from}: {error}") from error
            return known

    def _start_from(self, model: IterModule, options: dict[str, Any]) -> None:
        """Build a network that starts from a trained one, so that errors are found before anything is written."""
        if model.init_from is None:
            return
        if options.get("ckpt_path"):
            model.init_from = None  # the checkpoint contains the weights
            return
        model.configure_model()
        if self.trainer.is_global_zero:
            print(f"starting from {model.init_from}, {model.transfer}")

    def _resume_from(self, options: dict[str, Any]) -> None:
        """Use the run's own checkpoint if it exists and no other is given, after verifying it."""
        own = self.folder.last_checkpoint
        if options.get("ckpt_path") not in (None, "last"):
            return
        options["ckpt_path"] = str(own) if own.exists() else None
        if own.exists():
            check_checkpoint(own, f"move {own} away to train this run from the start with the same command")
            print(f"continuing the run in {self.folder.path}")

    def validate(self, model: IterModule, datamodule: CorpusDataModule, **options: Any) -> None:
        """Score the run's best model on dev."""
        unfinished = self._use_trained(model, datamodule)
        self.trainer.validate(model, datamodule=datamodule, verbose=False)
        if self.trainer.is_global_zero:
            self.folder.add_results("dev", model.dev_results, unfinished)
            self._print_results("dev")

    def test(self, model: IterModule, datamodule: CorpusDataModule, **options: Any) -> None:
        """Score the run's best model on test."""
        unfinished = self._use_trained(model, datamodule)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, TestResults):
                callback.unfinished = unfinished
        self.trainer.test(model, datamodule=datamodule, verbose=False)
        if self.trainer.is_global_zero:
            self._print_results("dev", "test")

    def predict(self, model: IterModule, datamodule: CorpusDataModule, **options: Any) -> None:
        """Write predictions.jsonl, and show the first sentences with predictions."""
        self._use_trained(model, datamodule)
        self.trainer.predict(model, datamodule=datamodule, return_predictions=False)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, PredictionFile) and self.trainer.is_global_zero:
                show_predictions(callback.pairs)
                print(f"\n{len(callback.pairs)} {datamodule.unit} in {self.folder.predictions_file}")

    def _use_trained(self, model: IterModule, datamodule: CorpusDataModule) -> bool:
        """Use the run's model if it was trained with this configuration.

        Returns:
            whether the run is unfinished, which `--allow-unfinished` permits.
        """
        if not (self.folder.model / "config.json").exists():
            raise ConfigError(
                f"no trained model in {self.folder.path}: run `fit` with this configuration first, or give --run_dir"
            )
        unfinished = self.folder.check_finished(self.config[self.subcommand].allow_unfinished)
        check_trained(self.folder, self.resolved_config(), datamodule)
        model.trained_folder = self.folder.model
        if unfinished and self.trainer.is_global_zero:
            print(unfinished_note(self.folder.path), file=sys.stderr)
        return unfinished

    def _print_results(self, *splits: str) -> None:
        results = self.folder.read_results()
        definition = EvaluationDefinition(**results[splits[-1]][0]["definition"])
        reports = {split: results[split][0]["scores"] for split in splits if split in results}
        note = "" if self.folder.finished else " (this run has not finished)"
        print(f"\n{format_table(reports, definition)}\n\n{self.folder.path}{note}")


def run(verb: str, arguments: list[str]) -> None:
    """Run one LightningCLI verb.

    Raises:
        IterError: the user can fix the cause; one line.
        SystemExit: status 2, after jsonargparse has printed an error.
    """
    quiet()
    return_large_buffers()
    if os.environ.get("LOCAL_RANK", "0") != "0":  # one of several processes of a training
        end_with(os.getppid())
    cli = build_cli(verb, arguments)
    cli.run_verb()


def build_cli(verb: str, arguments: list[str], cls: type[IterCLI] = IterCLI) -> IterCLI:
    """Parse a verb's arguments and build its data module, module and trainer, without running them.

    Raises:
        IterError: the arguments cannot be parsed or built; one line.
    """
    set_up_parsing()
    args = [verb, *with_extends(arguments)]
    try:
        return cls(
            IterModule,
            CorpusDataModule,
            trainer_class=TrainerOptions,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=1,
            load_from_checkpoint_support=False,
            parser_kwargs={"parser_mode": PARSER_MODE},
            trainer_defaults=TRAINER_DEFAULTS,
            args=args,
        )
    except OSError:  # the command line reports it with the file
        raise
    except Exception as error:  # each library raises its own errors
        found = as_config_error(error)
        unknown = re.search(r"option '(?:[\w.]+\.)?(\w+)'", str(found), re.IGNORECASE)
        if unknown and (file := file_of(unknown[1], arguments)):
            raise ConfigError(f"{file}: {found}") from error
        raise found from error


class _ParsingCLI(IterCLI):
    """Only parses."""

    def before_instantiate_classes(self) -> None:
        """Skip the run folder."""

    def instantiate_classes(self) -> None:
        """Skip data module, module and trainer."""


def parse_config(arguments: list[str]) -> dict[str, Any]:
    """Return the configuration of `fit` with these arguments, as recorded in a manifest.

    Args:
        arguments: arguments of the command line after the verb.

    Returns:
        the resolved configuration as plain values.

    Raises:
        ConfigError: a file cannot be read, or an option is unknown or has a wrong value.
        SystemExit: jsonargparse has printed an error.

    Example:
        >>> parse_config(["--data=Synthetic", "--data.depth=2"])["data"]["init_args"]["depth"]
        2
    """
    quiet()
    return build_cli("fit", arguments, _ParsingCLI).resolved_config()
