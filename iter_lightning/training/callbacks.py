"""Callbacks of training: write the run folder, keep the best model, and log predictions."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import WandbLogger
from torch.optim.swa_utils import get_ema_multi_avg_fn

from iter_lightning.errors import ConfigError, IterError
from iter_lightning.features import Batch
from iter_lightning.features.ceiling import encoding_report
from iter_lightning.io.atomic import whole_folder
from iter_lightning.training.module import IterModule
from iter_lightning.training.run import RunFolder
from iter_lightning.types import Example, Prediction


class BestModel(Callback):
    """Keeps the model with the best `dev/f1` as `model/` of the run folder, and its scores in results.json.

    Args:
        run: the run folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.best_score = -1.0
        self.best_epoch = -1
        self._attempt_started = time.monotonic()
        self._seconds_before = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far, which last.ckpt keeps for a resumed run."""
        return {"best_score": self.best_score, "best_epoch": self.best_epoch, "seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]
        self._seconds_before = state_dict["seconds"]

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._attempt_started

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Record gold annotation that the encoding of train and dev cannot represent in the manifest, and report it."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.is_global_zero:
            reports = {split: encoding_report(data.encoded(split)) for split in ("train", "dev")}
            self.run.update_manifest(encoding={split: report.counts() for split, report in reports.items()})
            for split, report in reports.items():
                if lost := report.losses():
                    print(f"{split}: {lost}")

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Export the model if it improved; every rank takes part, in case the strategy shards parameters."""
        score = trainer.callback_metrics.get("dev/f1")
        if trainer.state.fn != "fit" or trainer.sanity_checking or score is None or float(score) <= self.best_score:
            return
        assert isinstance(pl_module, IterModule)
        self.best_score, self.best_epoch = float(score), trainer.current_epoch
        state = trainer.strategy.lightning_module_state_dict()
        if trainer.is_global_zero:
            tensors = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
            export_model(pl_module, self.run.model, tensors)
            self.run.add_results("dev", pl_module.dev_results)
        trainer.strategy.barrier()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Append a line to metrics.jsonl."""
        if trainer.is_global_zero:
            values = {name: float(value) for name, value in trainer.callback_metrics.items()}
            self.run.append_metrics({"epoch": trainer.current_epoch, "seconds": round(self._seconds(), 1), **values})

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Mark the run as finished, which removes its checkpoint.

        Raises:
            IterError: no epoch was evaluated; the checkpoint stays.
        """
        if trainer.interrupted or not trainer.is_global_zero:
            return
        if self.best_epoch < 0:
            raise IterError("no epoch was evaluated on dev, so there is no best model; the checkpoint is kept")
        self.run.finish(
            seconds=round(self._seconds(), 1), epochs=trainer.current_epoch,
            best={"epoch": self.best_epoch, "dev/f1": self.best_score},
        )  # fmt: skip


class MovingAverage(Callback):
    """Evaluates and exports an exponential moving average of the weights; training continues from the weights.

    On a small dev split, scores of the average vary less than scores of the weights after a single step, so that the
    choice of the best epoch depends less on chance.

    Lightning's `EMAWeightAveraging` (2.6.6) is not used, because it swaps the weights back in
    `on_validation_epoch_end`. At that point `dev/f1` is not computed yet, so `BestModel` could not export the model
    that was scored. It also copies the whole module, with its metrics and tokenizer, instead of the weights only.

    Args:
        decay: weight of the previous average in each optimizer step, between 0 and 1.

    Raises:
        ConfigError: `decay` is outside its range.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 < decay < 1:
            raise ConfigError(f"decay must lie between 0 and 1, found {decay}")
        self.average: list[torch.Tensor] = []
        self._update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._step = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the average, which last.ckpt keeps for a resumed run."""
        return {"average": self.average, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.average, self._step = state_dict["average"], state_dict["step"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start with the current weights, or with the average of the checkpoint."""
        weights = list(pl_module.parameters())
        known = self.average or [weight.detach().clone() for weight in weights]
        self.average = [average.to(weight.device) for average, weight in zip(known, weights, strict=True)]

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Update the average if the optimizer has made a step."""
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            self._update(self.average, [weight.detach() for weight in pl_module.parameters()], self._step)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Swap the average in for evaluation."""
        self._swap(pl_module)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Swap the weights back in; `BestModel` runs before this callback and has exported the average."""
        self._swap(pl_module)

    def _swap(self, module: lightning.LightningModule) -> None:
        """Exchange weights and average in place; does nothing before training has started."""
        with torch.no_grad():
            for average, weight in zip(self.average, module.parameters(), strict=False):
                kept = weight.clone()
                weight.copy_(average)
                average.copy_(kept)


class EpochLine(ProgressBar):
    """Prints one line per epoch to stderr, in place of a progress bar that would fill a log file."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True

    def disable(self) -> None:
        """Print nothing; Lightning calls this on all ranks except the first."""
        self._enabled = False

    def enable(self) -> None:
        """Print again."""
        self._enabled = True

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print loss and dev score of the epoch."""
        if self._enabled:
            metrics = trainer.callback_metrics
            scores = [f"{name} {float(metrics[name]):.4g}" for name in ("train/loss", "dev/f1") if name in metrics]
            print(f"epoch {trainer.current_epoch}: {', '.join(scores)}", file=sys.stderr, flush=True)


def export_model(module: IterModule, folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Export a model and replace `folder` by it; at any time, `folder` or `folder.old` is a complete model."""
    try:
        with whole_folder(folder, folder.with_name(folder.name + ".old")) as part:
            module.network.save_pretrained(part, tensors)
    except Exception as error:  # each library that writes here raises its own errors
        raise IterError(f"the model cannot be written to {folder}: {error}") from error


class PredictionTable(Callback):
    """Logs a W&B table with gold and predictions of the first dev sentences, from the best epoch.

    Args:
        size: number of sentences.
    """

    def __init__(self, size: int = 50) -> None:
        self.size = size
        self._best = -1.0
        self._current: list[tuple[int, Example, Prediction]] = []
        self._rows: list[list[str]] = []

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Clear the rows of the previous evaluation."""
        self._current = []

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Batch,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Keep the first sentences of the corpus; batches are sorted by length."""
        if isinstance(outputs, dict):
            self._current.extend(row for row in outputs["rows"] if row[0] < self.size)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the table of the best epoch."""
        score = trainer.callback_metrics.get("dev/f1")
        if score is not None and float(score) > self._best:
            self._best = float(score)
            ordered = sorted(self._current, key=lambda row: row[0])
            self._rows = [_table_row(example, prediction) for _, example, prediction in ordered]

    def state_dict(self) -> dict[str, Any]:
        """Return the best table so far, which last.ckpt keeps for a resumed run."""
        return {"best": self._best, "rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._best, self._rows = state_dict["best"], state_dict["rows"]

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log the table once."""
        columns = ["id", "text", "gold entities", "predicted entities", "gold relations", "predicted relations",
                   "missed", "spurious"]  # fmt: skip
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and self._rows:
                logger.log_table("dev/predictions", columns=columns, data=self._rows)


def _table_row(example: Example, prediction: Prediction) -> list[str]:
    def entities(found: Any) -> str:
        return "; ".join(f"{example.text_of(e)} [{e.type}]" for e in sorted(found))

    def relations(found: Any) -> str:
        return "; ".join(f"{example.text_of(r.head)} {r.type} {example.text_of(r.tail)}" for r in sorted(found))

    gold, found = set(example.entities), set(prediction.entities)
    return [
        example.id, " ".join(example.words), entities(gold), entities(found), relations(set(example.relations)),
        relations(set(prediction.relations)), entities(gold - found), entities(found - gold),
    ]  # fmt: skip
