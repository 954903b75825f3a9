"""What happens around training: the run folder is written, the best model kept, predictions shown."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from torch.optim.swa_utils import get_ema_multi_avg_fn

from iter_lightning.errors import ConfigError, IterError
from iter_lightning.features import Batch
from iter_lightning.features.ceiling import encoding_report
from iter_lightning.files import finish_folder
from iter_lightning.training.module import IterModule
from iter_lightning.training.run import RunFolder
from iter_lightning.types import Example, Prediction


class BestModel(Callback):
    """Keeps the model with the best `dev/f1` as `model/` of the run folder, and its report in results.json."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.best_score = -1.0
        self.best_epoch = -1
        self._attempt_started = time.monotonic()
        self._seconds_before = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Carried in last.ckpt, so that a continued run knows what it has to beat."""
        return {"best_score": self.best_score, "best_epoch": self.best_epoch, "seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]
        self._seconds_before = state_dict["seconds"]

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._attempt_started

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Count what the encoding of train and dev cannot express, in the manifest, and say so."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.is_global_zero:
            reports = {split: encoding_report(data.encoded(split)) for split in ("train", "dev")}
            self.run.update_manifest(encoding={split: report.counts() for split, report in reports.items()})
            for split, report in reports.items():
                if lost := report.losses():
                    print(f"{split}: {lost}")

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Export on improvement; every rank takes part where the strategy shards parameters."""
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
        """A line of metrics.jsonl."""
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
    """Evaluates and keeps an exponential moving average of the weights instead of the weights themselves.

    A small dev split judges the average more steadily than the weights of one step, so that the best epoch is less
    a matter of luck. Training goes on from the weights themselves.

    Args:
        decay: share of the average that an optimiser step leaves, between 0 and 1.

    Raises:
        ConfigError: a decay outside its range.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 < decay < 1:
            raise ConfigError(f"decay must lie between 0 and 1, found {decay}")
        self.average: list[torch.Tensor] = []
        self._update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._step = 0

    def state_dict(self) -> dict[str, Any]:
        """Carried in last.ckpt."""
        return {"average": self.average, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.average, self._step = state_dict["average"], state_dict["step"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin with the weights as they are, or go on with those of the checkpoint."""
        weights = list(pl_module.parameters())
        known = self.average or [weight.detach().clone() for weight in weights]
        self.average = [average.to(weight.device) for average, weight in zip(known, weights, strict=True)]

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Move towards the weights where the optimiser has made a step."""
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            self._update(self.average, [weight.detach() for weight in pl_module.parameters()], self._step)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Evaluate the average."""
        self._swap(pl_module)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Back to the weights; `BestModel` has been here before and has exported the average."""
        self._swap(pl_module)

    def _swap(self, module: lightning.LightningModule) -> None:
        """Exchange values in place; nothing before training has begun."""
        with torch.no_grad():
            for average, weight in zip(self.average, module.parameters(), strict=False):
                kept = weight.clone()
                weight.copy_(average)
                average.copy_(kept)


def export_model(module: IterModule, folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write the model next to `folder` and swap it in: at any time a whole one is there, or as `.old` beside it."""
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        module.network.save_pretrained(fresh, tensors)
        finish_folder(fresh)
    except Exception as error:  # each of the libraries that write here has errors of its own
        shutil.rmtree(fresh, ignore_errors=True)
        raise IterError(f"the model cannot be written to {folder}: {error}") from error
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    fresh.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


class PredictionTable(Callback):
    """Logs one W&B table: gold and predictions of the first dev sentences of the corpus, from the best epoch.

    Args:
        size: how many sentences.
    """

    def __init__(self, size: int = 50) -> None:
        self.size = size
        self._best = -1.0
        self._current: list[tuple[int, Example, Prediction]] = []
        self._rows: list[list[str]] = []

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start anew."""
        self._current = []

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Batch,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Keep the sentences that come first in the corpus; batches come by length."""
        if isinstance(outputs, dict):
            self._current.extend(row for row in outputs["rows"] if row[0] < self.size)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Remember the table of the best epoch."""
        score = trainer.callback_metrics.get("dev/f1")
        if score is not None and float(score) > self._best:
            self._best = float(score)
            ordered = sorted(self._current, key=lambda row: row[0])
            self._rows = [_table_row(example, prediction) for _, example, prediction in ordered]

    def state_dict(self) -> dict[str, Any]:
        """Carried in last.ckpt, so that a continued run logs the best epoch of all."""
        return {"best": self._best, "rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._best, self._rows = state_dict["best"], state_dict["rows"]

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log it, once."""
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
