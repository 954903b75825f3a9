"""`fit`, `validate`, `test`, `predict`: LightningCLI with run folders, `extends:` and W&B.

What `LINKED` lists is linked from the data module into the model: the one door from data to model.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning
import yaml
from jsonargparse import ArgumentParser
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.io import CheckpointIO

from iter_lightning.errors import ConfigError
from iter_lightning.files import write_atomically
from iter_lightning.heap import return_large_buffers
from iter_lightning.metrics import EvaluationDefinition, format_table
from iter_lightning.model.encoder import load_tokenizer, weights_digest
from iter_lightning.model.transfer import model_folder
from iter_lightning.processes import end_with
from iter_lightning.status import unfinished_note
from iter_lightning.training import datamodules  # noqa: F401  (its classes are what --data can name)
from iter_lightning.training.building import PARSER_MODE, as_config_error, check_values, set_up_parsing, trainer_error
from iter_lightning.training.callbacks import BestModel, PredictionTable
from iter_lightning.training.checkpoints import WholeCheckpointIO, check_checkpoint
from iter_lightning.training.data import CorpusDataModule
from iter_lightning.training.extends import with_extends
from iter_lightning.training.loggers import TrainerOptions, logger_specs
from iter_lightning.training.module import IterModule
from iter_lightning.training.results import PredictionFile, TestResults
from iter_lightning.training.run import RunFolder, describe, describe_data, differences, identity
from iter_lightning.training.summary import LearningRates, RunSummary
from iter_lightning.training.terminal import show_predictions
from iter_lightning.training.wandb import check_mode, finish_wandb, wandb_loggers

LINKED = ("schema", "omega", "flat", "self_links", "language", "split_protocol")
"""Properties of the data module that the model is built with."""
TRAINER_DEFAULTS: dict[str, Any] = {
    "gradient_clip_val": 1.0,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
    "enable_model_summary": False,
    "log_every_n_steps": 10,
}
"""Defaults of the Trainer that differ from Lightning's."""


def add_project_options(parser: ArgumentParser) -> None:
    """Declare the options that belong neither to the data, nor to the model, nor to the trainer."""
    parser.add_argument("--extends", type=str | None, default=None, help="YAML file that this configuration builds on")
    parser.add_argument("--experiment", type=str, default="experiment", help="name of the run folder and the W&B group")
    parser.add_argument("--run_dir", type=str | None, default=None, help="run folder; null: runs/EXPERIMENT/seedSEED")
    parser.add_argument(
        "--allow-unfinished", action="store_true", help="validate, test, predict: accept a run that has not finished"
    )
    parser.add_argument(
        "--wandb.mode", type=str, default="auto", help="auto (offline without an API key), online, offline, disabled"
    )
    parser.add_argument("--wandb.project", type=str, default="iter_lightning", help="W&B project")
    parser.add_argument(
        "--wandb.tags", type=list[str], default=[], help="W&B tags besides corpus, encoder and split protocol"
    )
    parser.add_argument("--wandb.job_type", type=str, default="fit", help="W&B job type: fit, fold or trial")


class IterCLI(LightningCLI):
    """LightningCLI whose runs live in a folder of their own."""

    folder: RunFolder

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing yet: `run_verb` runs it, so that a configuration can be built without being run."""

    def run_verb(self) -> None:
        """Run the verb that was parsed."""
        super()._run_subcommand(str(self.subcommand))

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """As LightningCLI, but a parser raises what it does not understand: `build_cli` turns it into one line."""
        return super().init_parser(exit_on_error=False, **kwargs)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """As LightningCLI, without its warning that `args` and the arguments of the process differ.

        Raises:
            IterError: a checkpoint that cannot be read. LightningCLI looks into it next, and would not say so.
        """
        self.config = parser.parse_args(args)
        check_values(self.config[self.config.subcommand].as_dict())
        given = self.config[self.config.subcommand].get("ckpt_path")
        if given and self.config.subcommand != "fit":
            raise ConfigError("give --run_dir, the folder of a run, instead of --ckpt_path")
        if given and given != "last":
            check_checkpoint(given, "give --ckpt_path a checkpoint that `fit` wrote, or leave it out")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The project's own options and links."""
        for name in LINKED:
            parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")
        add_project_options(parser)

    def before_instantiate_classes(self) -> None:
        """Find the run folder."""
        config = self.config[self.subcommand]
        seed = config.seed_everything
        self.folder = RunFolder(config.run_dir or Path("runs") / config.experiment / f"seed{seed}")
        check_mode(config.wandb.mode)
        logger_specs(config.trainer.logger)

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        """A trainer with the callbacks and loggers of the verb."""
        trainer_config = {**self._get(self.config_init, "trainer", default={}), **kwargs}
        extra: list[lightning.Callback] = []
        if trainer_config.get("enable_progress_bar") is not False:
            extra.append(TQDMProgressBar(refresh_rate=1 if sys.stderr.isatty() else 50))
        if self.subcommand == "fit":
            extra += [BestModel(self.folder), PredictionTable(), LearningRates(), RunSummary(self.folder)]
            extra.append(self._checkpoint())
        elif self.subcommand == "test":
            extra += [TestResults(self.folder)]
        elif self.subcommand == "predict":
            extra += [PredictionFile(self.folder)]
        # the project's own come first: `BestModel` exports before `MovingAverage` takes its weights back
        trainer_config["callbacks"] = [*extra, *(trainer_config.get("callbacks") or [])]
        plugins = trainer_config.get("plugins") or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            trainer_config["plugins"] = [*plugins, WholeCheckpointIO()]
        trainer_config["default_root_dir"] = str(self.folder.path)
        trainer_config["logger"] = False  # W&B is added when the run really starts
        try:
            return lightning.Trainer(**trainer_config)
        except Exception as error:  # Lightning has no one class for what it refuses
            raise trainer_error(error, trainer_config) from error

    def _checkpoint(self) -> ModelCheckpoint:
        return ModelCheckpoint(
            dirpath=self.folder.last_checkpoint.parent, filename="last", save_top_k=1, enable_version_counter=False,
            save_on_train_epoch_end=True,
        )  # fmt: skip

    def fit(self, model: IterModule, datamodule: CorpusDataModule, **options: Any) -> None:
        """Train in the run folder: from the start, or from its last epoch; once finished, never again."""
        config = self.resolved_config()
        self.folder.check(config)
        self._check_evaluation()
        datamodule.setup()  # what the corpus or the encoder lacks is told before anything is written
        data = describe_data(datamodule.title(), datamodule.files(), datamodule.splits(), datamodule.unit)
        origin = {
            "splits": {name: split["sha256"] for name, split in data["splits"].items()},
            "tokenizer_sha256": _tokenizer_sha256(model.encoder_name),
            "encoder_sha256": weights_digest(model.encoder_name),
        }
        if model.init_from is not None:
            origin["init_sha256"] = self._init_sha256(model.init_from)
        self.folder.check_origin(origin)
        if self.folder.finished:
            print(f"{self.folder.path} holds this run, finished; `test` scores it")
            return
        model.check(self.trainer.strategy.root_device)
        self._resume_from(options)
        self._start_from(model, options)
        loggers = self._prepare(model, datamodule)
        with self.folder.open() if self.trainer.is_global_zero else nullcontext(), self._nothing_left_unless_trained():
            if self.trainer.is_global_zero:
                self._write_manifest(model, datamodule, config, data, origin)
            tags = [datamodule.title(), model.encoder_name[-64:], datamodule.split_protocol]
            self.trainer.loggers = [*wandb_loggers(config, self.folder.path, tags), *loggers]
            self.trainer.fit(model, datamodule=datamodule, **options)
        if self.trainer.is_global_zero:
            self._print_results("dev")

    def _prepare(self, model: IterModule, datamodule: CorpusDataModule) -> list[Logger]:
        """Build the network, the loggers and the batches, so that what cannot work is found before anything is written.

        Raises:
            IterError: one of them cannot be built.
        """
        model.configure_model()
        datamodule.trainer = self.trainer
        datamodule.connect(model.network.aligner(), model.network.collate)
        datamodule.check_shares()
        self._check_interval(datamodule)
        return [spec.build(self.folder.path) for spec in logger_specs(self.config[self.subcommand].trainer.logger)]

    def _check_interval(self, datamodule: CorpusDataModule) -> None:
        interval, every = self.trainer.val_check_interval, self.trainer.check_val_every_n_epoch
        if not isinstance(interval, int) or interval == 1 or every is None:
            return
        batches = len(datamodule.train_dataloader())
        if interval > batches:
            raise ConfigError(f"trainer.val_check_interval {interval} is past the last of {batches} training batches")

    @contextmanager
    def _nothing_left_unless_trained(self) -> Iterator[None]:
        """Remove a new run folder if training fails before its first step; report what Lightning refuses in one line.

        Entered while the folder is held.
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
        """Digest of the weights to start from; a run that has started knows it, should their folder be gone."""
        known: str | None = self.folder.manifest.get("origin", {}).get("init_sha256")
        try:
            return weights_digest(str(model_folder(init_from)))
        except ConfigError:
            if known is None:
                raise
            return known

    def _start_from(self, model: IterModule, options: dict[str, Any]) -> None:
        """Build the network where it starts from another: what does not fit is told before anything is written."""
        if model.init_from is None:
            return
        if options.get("ckpt_path"):
            model.init_from = None  # the checkpoint has the weights
            return
        model.configure_model()
        if self.trainer.is_global_zero:
            print(f"starting from {model.init_from}, {model.transfer}")

    def _resume_from(self, options: dict[str, Any]) -> None:
        """Choose the run's own checkpoint if it has one and no other is given; refuse it if it cannot be read."""
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
        """Write predictions.jsonl and show the first sentences in which something was found."""
        self._use_trained(model, datamodule)
        self.trainer.predict(model, datamodule=datamodule, return_predictions=False)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, PredictionFile) and self.trainer.is_global_zero:
                show_predictions(callback.pairs)
                print(f"\n{len(callback.pairs)} {datamodule.unit} in {self.folder.predictions_file}")

    def resolved_config(self) -> dict[str, Any]:
        """The resolved configuration as plain values."""
        found: dict[str, Any] = yaml.safe_load(
            self._parser(self.subcommand).dump(self.config[self.subcommand], skip_check=True)
        )
        return found

    def _check_evaluation(self) -> None:
        """Refuse settings under which no epoch would be evaluated, so that no model would be kept."""
        trainer = self.trainer
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

    def _use_trained(self, model: IterModule, datamodule: CorpusDataModule) -> bool:
        """Take the run's model if this configuration is the one it was trained under.

        Returns:
            whether the run is unfinished, which `--allow-unfinished` permits.
        """
        if not (self.folder.model / "config.json").exists():
            raise ConfigError(
                f"no trained model in {self.folder.path}: run `fit` with this configuration first, or give --run_dir"
            )
        unfinished = self.folder.check_finished(self.config[self.subcommand].allow_unfinished)
        before, now = (identity(config) for config in (self.folder.manifest.get("config", {}), self.resolved_config()))
        if before["data"].get("init_args", {}).get("test") is None:
            now["data"]["init_args"].pop("test", None)  # a user's own corpus may get its test split later
        for name in ("compile", "packing"):  # how it was trained, not what it is
            before.get("model", {}).pop(name, None)
            now["model"].pop(name, None)
        changed = [line for part in ("data", "model") for line in differences(before.get(part), now.get(part), part)]
        if changed and before.get("model"):
            raise ConfigError(
                f"{self.folder.path} was trained under another configuration; it differs in:\n  " + "\n  ".join(changed)
            )
        trained = self.folder.model_config["schema"]
        if trained != datamodule.schema.to_dict():
            raise ConfigError(
                f"{self.folder.path} was trained for other types than {datamodule.title()} has: {trained} there, "
                f"{datamodule.schema.to_dict()} now"
            )
        model.trained_folder = self.folder.model
        if unfinished and self.trainer.is_global_zero:
            print(unfinished_note(self.folder.path), file=sys.stderr)
        return unfinished

    def _write_manifest(
        self, model: IterModule, datamodule: CorpusDataModule, config: dict[str, Any], data: dict[str, Any],
        origin: dict[str, Any],
    ) -> None:  # fmt: skip
        """What the run is, once; what each attempt ran on, every time."""
        attempt = describe(str(self.trainer.strategy.root_device))
        before = self.folder.manifest
        if before.get("attempts"):
            self.folder.update_manifest(attempts=[*before["attempts"], attempt])
            return
        init: dict[str, Any] = {}
        if model.transfer is not None:
            taken = {"from": model.init_from, "sha256": origin["init_sha256"], **model.transfer.to_dict()}
            init = {"init": taken}
        left_out = ("extends", "allow_unfinished")  # what it extends is in it; `fit` has nothing to allow
        whole = {key: value for key, value in config.items() if key not in left_out}
        write_atomically(self.folder.path / "config.yaml", yaml.safe_dump(whole, sort_keys=False))
        self.folder.update_manifest(
            status="running", config=identity(config), seed=config["seed_everything"], encoder=model.encoder_name,
            tokenizer_sha256=origin["tokenizer_sha256"], **attempt,
            evaluation=EvaluationDefinition(split_protocol=datamodule.split_protocol).to_dict(),
            data=data, origin=origin, attempts=[attempt], **init,
        )  # fmt: skip

    def _print_results(self, *splits: str) -> None:
        results = self.folder.read_results()
        definition = EvaluationDefinition(**results[splits[-1]][0]["definition"])
        reports = {split: results[split][0]["scores"] for split in splits if split in results}
        note = "" if self.folder.finished else " (this run has not finished)"
        print(f"\n{format_table(reports, definition)}\n\n{self.folder.path}{note}")


def run(verb: str, arguments: list[str]) -> None:
    """Run one LightningCLI verb.

    Raises:
        IterError: what the user can put right.
        SystemExit: with status 2, after jsonargparse has printed what it does not understand.
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
        IterError: what cannot be parsed or built, in one line.
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
    except Exception as error:  # each of the libraries that build has errors of its own
        raise as_config_error(error) from error


def _tokenizer_sha256(encoder: str) -> str:
    return hashlib.sha256(load_tokenizer(encoder).backend_tokenizer.to_str().encode()).hexdigest()


class _ParsingCLI(IterCLI):
    """Parses alone."""

    def before_instantiate_classes(self) -> None:
        """No run folder."""

    def instantiate_classes(self) -> None:
        """No data module, module or trainer."""


def parse_config(arguments: list[str]) -> dict[str, Any]:
    """The whole configuration that `fit` would have with these arguments, as a manifest holds it.

    Raises:
        ConfigError: a file that cannot be read.
        SystemExit: after jsonargparse has printed what it does not understand.
    """
    quiet()
    return build_cli("fit", arguments, _ParsingCLI).resolved_config()


def quiet() -> None:
    """Leave out what libraries say to their developers."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric.utilities.seed").setLevel(logging.WARNING)
    for text in (
        ".*does not have many workers.*", ".*LeafSpec.*", ".*isinstance.treespec.*", ".*logging interval.*",
        ".*in eval mode at the start of training.*", ".*custom batch sampler `LengthBatchSampler`.*",
        "Checkpoint directory .* exists and is not empty.*", "The dirpath has changed from .*",
    ):  # fmt: skip
        warnings.filterwarnings("ignore", text)
