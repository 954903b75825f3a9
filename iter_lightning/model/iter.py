"""The ITER model: an encoder and three heads that find entities and relations in one pass.

B windows, N subwords, S = B * N slots, H hidden, L eligible lefts, C span candidates, T entity types,
E spans, P pairs of spans, R relation types, F filled slots. Gold: S spans, K links.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from iter_lightning.errors import ConfigError
from iter_lightning.features.batching import Batch
from iter_lightning.io.atomic import permit, staged_file, write_atomically
from iter_lightning.model import encoder as encoders
from iter_lightning.model import loading, packing, pretrained, published, stored, supervision
from iter_lightning.model.base import IterBase
from iter_lightning.model.brackets import SpanCandidates, candidate_rows, ordered_pairs, span_candidates
from iter_lightning.model.compact import compress
from iter_lightning.model.config import IterConfig
from iter_lightning.model.decoding import SpanProposals, propose
from iter_lightning.model.heads import GatedFeedForward, PairFeedForward
from iter_lightning.model.label_layers import LabelLinear
from iter_lightning.model.losses import IterLoss, left_loss, link_loss, span_loss
from iter_lightning.model.names import resolve_model
from iter_lightning.model.pipeline import stream
from iter_lightning.types import NO_LIMITS, Example, LabelSet, Prediction, Schema


class IterModel(IterBase):
    """An encoder with the heads IsLeft, IsSpan and IsLink.

    `forward` computes the training loss of a batch; `predict` finds entities and relations in examples.

    Args:
        config: sizes, schema and options.
        encoder: a Hugging Face encoder (see `encoder.load_encoder` and `encoder.build_encoder`).
        tokenizer: the encoder's fast tokenizer; None for a model that is only given batches.

    Example:
        >>> model = IterModel.from_pretrained("runs/conll04/seed1/model")  # doctest: +SKIP
        >>> model.predict([Example(words=("Ada", "lives", "in", "London"))])  # doctest: +SKIP
    """

    def __init__(
        self, config: IterConfig, encoder: nn.Module, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        packing.enable(encoder)
        self.packing: bool | None = None
        """Whether `encode` leaves padding out if the encoder can; None: only without gradients."""
        self.limits = NO_LIMITS
        """Maximum numbers of entities and relations that `propose` and `predict` keep of a window."""
        self.prepared = False
        """Whether `inference.prepare` has optimized the model, which changes its weights so that it cannot be saved."""
        hf_config = encoders.config_from_dict(config.encoder)
        hidden, inner = encoders.hidden_size(hf_config), encoders.feed_forward_size(hf_config)
        pair_width = config.pair_width or 2 * inner
        options = (config.activation, config.dropout, config.heads != "fixed")
        types, links = len(config.schema.entity_types), config.link_outputs
        self.is_left = GatedFeedForward(hidden, config.left_width or inner, config.left_outputs, *options)
        self.is_span = PairFeedForward(hidden, pair_width, types, *options, config.pair_memory_mb)
        self.sides = 1 if config.omega == 1 else 2  # vectors that represent a span: its last subword, or both ends
        self.is_link = (
            PairFeedForward(self.sides * hidden, pair_width, links, *options, config.pair_memory_mb) if links else None
        )
        if config.heads == "open":
            for head in filter(None, (self.is_left, self.is_span, self.is_link)):
                head.w_out = LabelLinear(hidden, head.inner // 2)
        self.tokenizer = tokenizer
        self.max_subwords = pretrained.longest_window(config)

    @classmethod
    def from_encoder(cls, name: str, schema: Schema, **options: Any) -> IterModel:
        """Build a model with new heads on a pretrained encoder.

        Args:
            name: folder, hub id or `package:NAME` of the encoder.
            schema: entity and relation types.
            options: the other fields of `IterConfig`.

        Raises:
            EncoderError: the encoder cannot be loaded.
        """
        encoder = encoders.load_encoder(name)
        config = IterConfig(schema=schema, encoder=encoders.load_config(name).to_dict(), **options)
        model = cls(config, encoder, encoders.load_tokenizer(name))
        if config.heads == "open":
            model.ask(LabelSet.of(schema))
        loading.try_out(f"encoder {name!r}", model)
        return model

    def forward(self, batch: Batch) -> IterLoss:
        """Compute the losses of a batch (Eq. 9), with gold lefts and spans given to the later heads.

        Raises:
            ConfigError: the batch was encoded for a larger omega than the model's.
        """
        omega = max(encoded.omega for encoded, _ in batch.windows)
        if omega > self.config.omega:
            raise ConfigError(f"the batch was encoded for omega {omega}, the model pairs {self.config.omega} lefts")
        if batch.labels is not None:
            self.ask(batch.labels)
        heads = ModelHeads(self, batch, self.encode(batch))

        # Candidates are made of the gold lefts, and of predicted ones if the model is trained to reject false ones.
        left_logits = heads.typed_left_logits()
        gold_left = supervision.gold_lefts(batch, left_logits.shape[1], typed=self.config.heads != "fixed")
        is_left_S = gold_left.any(dim=1)
        if self.config.predicted_lefts and (batch.labels is None or batch.labels.entities_exhaustive):
            is_left_S[batch.left_slots_L] |= left_logits.detach().amax(dim=1) > 0
        candidates = span_candidates(
            is_left_S.view_as(batch.input_ids_BN), batch.left_slots_L, batch.right_slots_M, self.config.omega, "valid"
        )

        # The gold types of the candidates that are gold spans; all other candidates are "none". A gold span is
        # not a candidate if false lefts stand between its brackets.
        row_of_span_S = candidate_rows(candidates, batch.gold_spans_S3, batch.input_ids_BN.shape[1])
        span_logits_CT = heads.span_logits(candidates)
        gold_CT = torch.zeros_like(span_logits_CT, dtype=torch.bool)
        row_T, type_T = row_of_span_S[batch.gold_types_T2[:, 0]], batch.gold_types_T2[:, 1]
        gold_CT[row_T[row_T >= 0], type_T[row_T >= 0]] = True

        known_L = supervision.known_lefts(batch)
        loss = IterLoss(
            left=left_loss(left_logits[known_L], gold_left[batch.left_slots_L][known_L]),
            span=span_loss(span_logits_CT, gold_CT, candidates.valid_C),
            link=self._link_loss(heads, candidates, row_of_span_S),
        )
        return loss.scaled(1 / len(batch)) if self.config.loss_reduction == "batch_mean" else loss

    def _link_loss(self, heads: ModelHeads, candidates: SpanCandidates, row_of_span_S: Tensor) -> Tensor:
        """Compute Eq. 13 over pairs of gold spans, or of span candidates (heads) and gold spans (tails).

        Args:
            heads: the model's decisions on the batch.
            candidates: the span candidates.
            row_of_span_S: the candidate of each gold span.
        """
        batch, config = heads.batch, self.config
        if self.is_link is None or (batch.labels is not None and not batch.labels.relations):
            return heads.hidden_SH.new_zeros(())

        # Tails are the gold spans of each row; heads are the same, or all candidates.
        length = batch.input_ids_BN.shape[1]
        row_S, left_S, right_S = batch.gold_spans_S3.unbind(dim=1)
        tail_slots = head_slots = (row_S * length + left_S, row_S * length + right_S)
        head_of_span_S = torch.arange(len(row_S), device=row_S.device)
        if config.link_pairs == "positions":
            head_slots, head_of_span_S = (candidates.left_slot_C, candidates.right_slot_C), row_of_span_S

        # All ordered pairs; the pair of head h and the t-th gold span of its row is number offset_E[h] + t.
        head_P, tail_P, offset_E = ordered_pairs(head_slots[1] // length, row_S, len(batch))
        spans_B = torch.bincount(row_S, minlength=len(batch))
        rank_S = torch.arange(len(row_S), device=row_S.device) - (spans_B.cumsum(0) - spans_B)[row_S]

        # Mark the gold links.
        outputs = config.link_outputs if batch.labels is None else len(batch.labels.relations)
        gold_PR = torch.zeros(len(head_P), outputs, dtype=torch.bool, device=row_S.device)
        head_K, tail_K, type_K = batch.gold_links_K3.unbind(dim=1)
        gold_PR[offset_E[head_of_span_S[head_K]] + rank_S[tail_K], type_K] = True

        # With inverse links, a link of type r from head to tail is also column R + r of the pair (tail, head).
        # Symmetric types are left out: their gold links are already given in both directions.
        if config.inverse_links:
            inverted_R = torch.tensor([name not in config.schema.symmetric for name in config.schema.relation_types])
            inverse_P, inverse_K = offset_E[head_of_span_S[tail_K]] + rank_S[head_K], len(inverted_R) + type_K
            gold_PR[inverse_P, inverse_K] = inverted_R.to(type_K.device)[type_K]

        # Without self-links, the pairs of a span with itself are left out, as in decoding.
        if not config.self_links:
            trained_P = torch.ones_like(head_P, dtype=torch.bool)
            trained_P[offset_E[head_of_span_S] + rank_S] = False
            head_P, tail_P, gold_PR = head_P[trained_P], tail_P[trained_P], gold_PR[trained_P]

        # Without complete annotation, only pairs with a gold link in either direction are known.
        if batch.labels is not None and not batch.labels.relations_exhaustive:
            known_P = supervision.known_pairs(head_P, tail_P, gold_PR, len(row_S))
            head_P, tail_P, gold_PR = head_P[known_P], tail_P[known_P], gold_PR[known_P]
        return link_loss(heads.pair_logits(head_slots, tail_slots, head_P, tail_P), gold_PR)

    @torch.no_grad()
    def bind(self, schema: Schema, texts: Mapping[str, str] | None = None, nested: bool = False) -> IterModel:
        """Choose the types of an open model.

        The result is an ordinary model that shares the encoder and the inner layers with this one, and costs what a
        model with fixed types costs.

        Args:
            schema: types, whose names the model reads.
            texts: what to read instead of a name, such as a description: `{"drug": "drug: a medicine"}`.
            nested: whether entities may overlap; if not, only the most probable of overlapping ones is kept.

        Raises:
            ConfigError: this model is not open.

        Example:
            >>> open_model = IterModel.from_pretrained("runs/open/model")  # doctest: +SKIP
            >>> model = open_model.bind(Schema(("person", "company"), ("works for",)))  # doctest: +SKIP
        """
        if self.config.heads != "open":
            raise ConfigError(
                "only an open model has types of your choice; the types of this one are "
                f"{', '.join((*self.config.schema.entity_types, *self.config.schema.relation_types))}"
            )
        training = self.training
        if training:
            self.eval()  # labels are read without dropout
        layers = self.output_layers(LabelSet.of(schema, texts))
        if training:
            self.train()
        config = replace(self.config, schema=schema, heads="bound", flat=not nested)
        bound = IterModel(config, self.encoder, self.tokenizer).eval()
        bound.packing, bound.limits, bound.prepared = self.packing, self.limits, self.prepared
        for name, (weight, bias) in layers.items():
            own, new = getattr(self, name), getattr(bound, name)
            # all but the output layer is shared; a prepared model has other inner projections
            del new.w_in
            for part, module in own.named_children():
                if part != "w_out":
                    setattr(new, part, module)
            new.w_out.weight, new.w_out.bias = nn.Parameter(weight), nn.Parameter(bias)
        return bound

    @torch.no_grad()
    def propose(self, batch: Batch, link_threshold: float | None = None) -> SpanProposals:
        """Find the spans of a batch; `SpanProposals.link` goes on to their links. Call `eval()` first."""
        heads = ModelHeads(self, batch, self.encode(batch))
        return propose(batch, heads, self.config, link_threshold, self.limits)

    def predict(
        self, examples: Iterable[Example], batch_size: int | None = 32, link_threshold: float | None = None, *,
        max_tokens: int | None = None, workers: int = 0,
    ) -> list[Prediction]:  # fmt: skip
        """Return one prediction per example, in order. Gold annotation is ignored. See `pipeline.stream`."""
        return list(stream(
            self, examples, batch_size, link_threshold=link_threshold, max_tokens=max_tokens, workers=workers
        ))  # fmt: skip

    def save_pretrained(
        self, folder: str | Path, tensors: dict[str, Tensor] | None = None, compact: bool = False
    ) -> None:
        """Write config.json, model.safetensors and the tokenizer. The first two are written atomically.

        Args:
            folder: created if it does not exist.
            tensors: the state dict to write, for instance one that a sharded strategy has gathered; None is this
                model's.
            compact: write matrices in 8 bits, a quarter of the size; see `compact`.

        Raises:
            ConfigError: the model was optimized for inference.
        """
        if self.prepared:
            raise ConfigError("a model that was optimized for inference cannot be saved; save it before")
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(target)
        distinct = stored.without_shared(tensors or self.state_dict())  # before copying, after which nothing is shared
        tensors = {name: value.detach().cpu().contiguous() for name, value in distinct.items()}
        with staged_file(target / "model.safetensors") as part:
            save_file(compress(tensors) if compact else tensors, part, metadata={"format": "pt"})
            permit(part)  # safetensors creates files that only the owner may read
        write_atomically(target / "config.json", json.dumps(self.config.to_dict(), indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path, revision: str | None = None) -> IterModel:
        """Load a model that `save_pretrained` or the published code wrote, in `eval()` mode. No code in it is executed.

        Args:
            folder: a run folder, a model folder, the name of a ready model (`open-minilm`), or a hub id
                (`fleonce/iter-conll04-deberta-large`).
            revision: branch, tag or commit of a hub id.

        Raises:
            EncoderError: the model or one of its files is missing or does not match its configuration.
        """
        source = resolve_model(folder, revision)
        return published.load(source, cls) if published.found_in(source) else loading.load(source, cls)


@dataclass(frozen=True)
class ModelHeads:
    """The model's decisions on one batch, in training and in prediction; see `decoding.Heads`."""

    model: IterModel
    batch: Batch
    hidden_SH: Tensor = field(repr=False)

    def left_logits(self) -> Tensor:
        """Eq. 4, [L]; the largest logit of all types if IsLeft scores each type."""
        return self.typed_left_logits().amax(dim=1)

    def typed_left_logits(self) -> Tensor:
        """Eq. 4, [L, 1], or [L, T] if IsLeft scores each type."""
        logits: Tensor = self.model.is_left(self.hidden_SH.index_select(0, self.batch.left_slots_L))
        return logits

    def span_logits(self, candidates: SpanCandidates) -> Tensor:
        """Eq. 5, [C, T]."""
        logits: Tensor = self.model.is_span(
            self.hidden_SH.index_select(0, candidates.left_slots_L),
            self.hidden_SH.index_select(0, candidates.right_slots_M),
            candidates.left_row_C, candidates.right_row_C, candidates.per_right,
        )  # fmt: skip
        return logits

    def link_logits(self, left_slots_E: Tensor, right_slots_E: Tensor, head_P: Tensor, tail_P: Tensor) -> Tensor:
        """Eq. 6 and 7 for pairs of the given spans, [P, R]; [P, 2R] with inverse links."""
        spans = left_slots_E, right_slots_E
        return self.pair_logits(spans, spans, head_P, tail_P)

    def pair_logits(
        self, head_slots: tuple[Tensor, Tensor], tail_slots: tuple[Tensor, Tensor], head_P: Tensor, tail_P: Tensor
    ) -> Tensor:
        """Eq. 6 and 7 for pairs of a head and a tail; each is given by its left and right slots.

        Args:
            head_slots: left and right slots of the heads.
            tail_slots: left and right slots of the tails.
            head_P: the head of each pair.
            tail_P: the tail of each pair.
        """
        assert self.model.is_link is not None  # callers ask only if the schema has relation types
        heads_EH = self._span_vectors(*head_slots)
        if tail_slots is head_slots and not torch.is_grad_enabled():
            row_E = head_slots[1] // self.batch.input_ids_BN.shape[1]
            return self.model.is_link.logits_within_rows(heads_EH, head_P, tail_P, row_E)
        logits: Tensor = self.model.is_link(heads_EH, self._span_vectors(*tail_slots), head_P, tail_P)
        return logits

    def _span_vectors(self, left_slots_E: Tensor, right_slots_E: Tensor) -> Tensor:
        """Represent a span by its last subword (psi = 2, Eq. 6), or by its first and last (psi = 4, Eq. 7)."""
        last = self.hidden_SH.index_select(0, right_slots_E)
        return last if self.model.sides == 1 else torch.cat([self.hidden_SH.index_select(0, left_slots_E), last], dim=1)
