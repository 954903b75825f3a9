"""Callbacks that log learning rates during training, and an analysis of the best model after it.

analysis.json   split, definition, link_threshold (the model's lambda)
                link_curve, best_link_threshold       RE and RE+ at each lambda; empty and null without relation types
                per_type                              task -> type -> scores, at the model's lambda
                confusion                             task -> rows, columns, counts
                throughput                            of one prediction of dev: sentences and words per second
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger

from iter_lightning.errors import IterError
from iter_lightning.metrics import LINK_THRESHOLDS, EvaluationDefinition, best_threshold, confusion, link_curve
from iter_lightning.metrics.analysis import above, counts_by_type
from iter_lightning.model import IterModel
from iter_lightning.training.module import IterModule
from iter_lightning.training.run import RunFolder
from iter_lightning.types import Example, Prediction

KEYS = {"NER": "ner", "RE": "re", "RE+": "re_plus"}
"""Task -> its name in logged values."""


class LearningRates(Callback):
    """Logs `lr/encoder` and `lr/heads` at each step; metrics.jsonl contains those of an epoch's last step."""

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Log the rates of the coming step."""
        groups = trainer.optimizers[0].param_groups  # the encoder's come first (`parameter_groups`)
        for name, group in (("encoder", groups[0]), ("heads", groups[-1])):
            pl_module.log(f"lr/{name}", torch.tensor(group["lr"]))  # on the host, so that nothing waits for the device


class RunSummary(Callback):
    """Writes analysis.json of a finished run and logs it to W&B; runs after `BestModel`, whose model it loads.

    The run is already finished, so errors of files, memory or the device are only warnings here.

    Args:
        run: the run folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Analyze the best model on the first rank; other ranks do not wait."""
        if trainer.interrupted or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, IterModule)
        if pl_module.config.heads == "open":
            return  # results.json has the scores of each dev corpus; they share no types
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        precision = trainer.precision_plugin
        try:
            model = IterModel.from_pretrained(self.run.model).to(trainer.strategy.root_device)
            precision.convert_module(model)
            with precision.forward_context():  # as dev was scored
                definition = pl_module.dev_metric.definition
                found = analyse(model, data.splits()["dev"], definition, data.eval_batch_size)
            self.run.write_json(self.run.analysis_file, found)
        except (OSError, RuntimeError, IterError) as error:
            warnings.warn(f"the run is finished, but could not be analyzed: {error}", stacklevel=2)
            return
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                log_analysis(logger, found)


def analyse(
    model: IterModel, examples: Sequence[Example], definition: EvaluationDefinition, batch_size: int
) -> dict[str, Any]:
    """Compute the content of analysis.json.

    Args:
        model: the best model, on its device.
        examples: the dev split with the gold of the corpus.
        definition: the evaluation definition of the scores.
        batch_size: examples per batch.
    """
    schema, threshold = model.config.schema, model.config.link_threshold
    lowest = min(threshold, *LINK_THRESHOLDS)  # results of larger thresholds follow from the scores
    predictions, seconds = timed_predictions(model, examples, batch_size, lowest)
    pairs = list(zip(examples, predictions, strict=True))
    kept = [(example, above(prediction, threshold)) for example, prediction in pairs]
    counts, curve = counts_by_type(kept, schema, definition), link_curve(pairs, schema, definition)
    return {
        "split": "dev",
        "definition": definition.to_dict(),
        "link_threshold": threshold,
        "link_curve": curve,
        "best_link_threshold": best_threshold(curve) if curve else None,
        "per_type": {task: {name: c.scores() for name, c in by_type.items()} for task, by_type in counts.items()},
        "confusion": {task: confusion(kept, schema, task) for task in counts if task != "RE"},
        "throughput": {
            "sentences_per_second": round(len(examples) / seconds, 1),
            "words_per_second": round(sum(len(example.words) for example in examples) / seconds, 1),
            "device": str(next(model.parameters()).device),
            "batch_size": batch_size,
        },
    }


def timed_predictions(
    model: IterModel, examples: Sequence[Example], batch_size: int, link_threshold: float
) -> tuple[list[Prediction], float]:
    """Return predictions and the seconds that they took, after a first batch that is not timed."""
    model.predict(examples[:batch_size], batch_size, link_threshold)
    started = time.perf_counter()
    predictions = model.predict(examples, batch_size, link_threshold)
    return predictions, time.perf_counter() - started


def log_analysis(logger: WandbLogger, analysis: dict[str, Any]) -> None:
    """Log an analysis to W&B, under the names that the panels of `studies/dashboard.yaml` use."""
    curve = curve_rows(analysis)
    if curve:
        logger.experiment.define_metric("link/threshold")
        for name in sorted(curve[0].keys() - {"link/threshold"}):
            logger.experiment.define_metric(name, step_metric="link/threshold")
    for row in curve:
        logger.experiment.log(row)
    for key, (columns, rows) in tables(analysis).items():
        logger.log_table(key, columns=columns, data=rows)
    logger.log_metrics(scalars(analysis))


def curve_rows(analysis: dict[str, Any]) -> list[dict[str, float]]:
    """Return one row per lambda: `link/threshold`, `link/re_precision` ... `link/re_plus_f1`."""
    return [
        {"link/threshold": point["lambda"]}
        | {f"link/{KEYS[task]}_{name}": v for task in ("RE", "RE+") for name, v in point[task].items()}
        for point in analysis["link_curve"]
    ]


def scalars(analysis: dict[str, Any]) -> dict[str, float]:
    """Return `throughput/...` and, if there is a curve, `link/best_threshold`."""
    found = {f"throughput/{name}_per_second": analysis["throughput"][f"{name}_per_second"]
             for name in ("sentences", "words")}  # fmt: skip
    best = analysis["best_link_threshold"]
    return found if best is None else {**found, "link/best_threshold": best}


def tables(analysis: dict[str, Any]) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Return columns and rows of `dev/per_type`, `dev/confusion_ner` and `dev/confusion_re_plus` (a row per cell)."""
    names = ["precision", "recall", "f1", "support"]
    found: dict[str, tuple[list[str], list[list[Any]]]] = {
        "dev/per_type": (
            ["label", "task", "type", *names],
            [
                [f"{task} {kind}", task, kind, *(scores[name] for name in names)]
                for task, by_type in analysis["per_type"].items()
                for kind, scores in by_type.items()
            ],
        )
    }
    for task, matrix in analysis["confusion"].items():
        cells = [
            [gold, predicted, count]
            for gold, line in zip(matrix["rows"], matrix["counts"], strict=True)
            for predicted, count in zip(matrix["columns"], line, strict=True)
        ]
        found[f"dev/confusion_{KEYS[task]}"] = (["gold", "predicted", "count"], cells)
    return found
