"""ITER: an encoder and three heads that find entities and relations in one pass.

B windows, N subwords, S = B * N slots, H hidden, L eligible lefts, C span candidates, T entity types,
E spans, P pairs, R relation types.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from iter_lightning.cancellation import cancellable
from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.features.alignment import Aligner, EncodedExample
from iter_lightning.features.batching import Batch, collate
from iter_lightning.files import permit, write_atomically
from iter_lightning.model import encoder as encoders
from iter_lightning.model import hub, loading, packing, pretrained, published
from iter_lightning.model.brackets import SpanCandidates, candidate_rows, ordered_pairs, span_candidates
from iter_lightning.model.config import IterConfig
from iter_lightning.model.decoding import DecodingRules, Proposed, propose
from iter_lightning.model.heads import GatedFeedForward, PairFeedForward
from iter_lightning.model.losses import IterLoss, left_loss, link_loss, span_loss
from iter_lightning.model.pipeline import stream
from iter_lightning.types import NO_LIMITS, Example, Prediction, Schema

_ENCODED_AT_ONCE = {"cpu": 2048, "cuda": 65_536}
"""Subwords a call of the encoder when nothing is trained; a CPU wants what its caches hold, a GPU large products."""


class IterModel(nn.Module):
    """The network; `forward` gives the loss of a batch, `predict` finds entities and relations.

    Args:
        config: sizes, schema and rules.
        encoder: a Hugging Face encoder stack (`encoder.load_encoder` or `build_encoder`).
        tokenizer: its fast tokenizer; None for a model that only sees ready-made batches.
    """

    def __init__(
        self, config: IterConfig, encoder: nn.Module, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        packing.enable(encoder)
        self.packing: bool | None = None
        """Whether `encode` leaves padding out, where the encoder can; None: where nothing is trained."""
        self.limits = NO_LIMITS
        """Bounds on what `propose` and `predict` keep of a window."""
        self.prepared = False
        """Whether `inference.prepare` has changed it: weights are then laid out anew, and cannot be saved."""
        hf_config = encoders.config_from_dict(config.encoder)
        hidden, inner = encoders.hidden_size(hf_config), encoders.feed_forward_size(hf_config)
        pair_width, options = config.pair_width or 2 * inner, (config.activation, config.dropout)
        types, links = len(config.schema.entity_types), config.link_outputs
        self.is_left = GatedFeedForward(hidden, config.left_width or inner, 1, *options)
        self.is_span = PairFeedForward(hidden, pair_width, types, *options, config.pair_memory_mb)
        self.sides = 1 if config.omega == 1 else 2  # vectors that stand for a span: its last subword, or both ends
        self.is_link = (
            PairFeedForward(self.sides * hidden, pair_width, links, *options, config.pair_memory_mb) if links else None
        )
        self.tokenizer = tokenizer
        self.max_subwords = pretrained.longest_window(config)

    @classmethod
    def from_encoder(cls, name: str, schema: Schema, **options: Any) -> IterModel:
        """New heads on the pretrained encoder `name` (folder, hub id or `package:NAME`); options as in `IterConfig`."""
        encoder = encoders.load_encoder(name)
        config = IterConfig(schema=schema, encoder=encoders.load_config(name).to_dict(), **options)
        model = cls(config, encoder, encoders.load_tokenizer(name))
        loading.try_out(f"encoder {name!r}", model)
        return model

    def aligner(self) -> Aligner:
        """The aligner that fits this model.

        Raises:
            EncoderError: the model was built without a tokenizer.
        """
        if self.tokenizer is None:
            raise EncoderError("this model was built without a tokenizer and reads ready-made batches alone")
        return pretrained.build_aligner(self.tokenizer, self.config, self.max_subwords)

    @property
    def pad_id(self) -> int:
        """The token that fills; 0 where the tokenizer names none."""
        return pretrained.padding_id(self.tokenizer)

    def collate(self, windows: Sequence[tuple[EncodedExample, int]]) -> Batch:
        """`features.collate` with this model's padding and word-boundary rule."""
        return collate(windows, self.pad_id, self.config.respect_word_boundaries)

    def encode(self, batch: Batch) -> Tensor:
        """Hidden states of all slots [S, H]; zero in padding where that is left out (`packing`).

        Without gradients so many windows go through the encoder at a time that memory stays bounded.
        """
        lengths, width = batch.lengths, max(1, batch.input_ids_BN.shape[1])
        way = packing.way(self.encoder, batch.input_ids_BN.device) if self._packs() else None
        taken = lengths if way else [width] * len(lengths)
        at_once = _ENCODED_AT_ONCE.get(batch.input_ids_BN.device.type, 2048)
        portions = packing.portions(taken, sum(taken) if torch.is_grad_enabled() else at_once)
        if way is None:
            parts = ((batch.input_ids_BN[part], batch.mask_BN[part].long()) for part in cancellable(portions))
            hidden = [self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state for ids, mask in parts]
            return torch.cat(hidden).flatten(0, 1) if len(hidden) > 1 else hidden[0].flatten(0, 1)
        hidden_FH = torch.cat([
            packing.encode_packed(self.encoder, way, batch.input_ids_BN[part], lengths[part])
            for part in cancellable(portions)
        ])  # fmt: skip
        if len(hidden_FH) == len(lengths) * width:
            return hidden_FH
        return hidden_FH.new_zeros(len(lengths) * width, hidden_FH.shape[1]).index_copy(
            0, batch.filled_slots_F, hidden_FH
        )

    def _packs(self) -> bool:
        return not torch.is_grad_enabled() if self.packing is None else self.packing

    def forward(self, batch: Batch) -> IterLoss:
        """The losses of a batch with gold lefts and spans given to the later heads (teacher forcing).

        Raises:
            ConfigError: the batch was encoded for a larger omega than the model's.
        """
        omega = max(encoded.omega for encoded, _ in batch.windows)
        if omega > self.config.omega:
            raise ConfigError(f"the batch was encoded for omega {omega}, the model pairs {self.config.omega} lefts")
        hidden_SH = self.encode(batch)
        heads = ModelHeads(self, batch, hidden_SH)
        is_left_S = torch.zeros(len(hidden_SH), dtype=torch.bool, device=hidden_SH.device)
        is_left_S[batch.gold_left_slots_G] = True
        candidates = span_candidates(
            is_left_S.view_as(batch.input_ids_BN), batch.left_slots_L, batch.right_slots_M, self.config.omega, "valid"
        )
        row_of_span_S = candidate_rows(candidates, batch.gold_spans_S3, batch.input_ids_BN.shape[1])
        span_logits_CT = heads.span_logits(candidates)
        gold_CT = torch.zeros_like(span_logits_CT, dtype=torch.bool)
        gold_CT[row_of_span_S[batch.gold_types_T2[:, 0]], batch.gold_types_T2[:, 1]] = True
        loss = IterLoss(
            left=left_loss(heads.left_logits(), is_left_S[batch.left_slots_L]),
            span=span_loss(span_logits_CT, gold_CT, candidates.valid_C),
            link=self._link_loss(heads, candidates, row_of_span_S),
        )
        return loss.scaled(1 / len(batch)) if self.config.loss_reduction == "batch_mean" else loss

    def _link_loss(self, heads: ModelHeads, candidates: SpanCandidates, row_of_span_S: Tensor) -> Tensor:
        """Eq. 13 over pairs of gold spans, or of span candidates (heads) and gold spans (tails).

        With inverse links a link from head to tail is one of the pair (tail, head) in column R + r, too. Without
        self-links, the pairs of a span with itself are left out, as they are in decoding.
        """
        batch = heads.batch
        if self.is_link is None:
            return heads.hidden_SH.new_zeros(())
        length = batch.input_ids_BN.shape[1]
        row_S, left_S, right_S = batch.gold_spans_S3.unbind(dim=1)
        lefts_E, rights_E = row_S * length + left_S, row_S * length + right_S
        heads_E = (lefts_E, rights_E)
        head_of_span_S = torch.arange(len(row_S), device=row_S.device)
        if self.config.link_pairs == "positions":
            heads_E, head_of_span_S = (candidates.left_slot_C, candidates.right_slot_C), row_of_span_S
        head_P, tail_P, offset_E = ordered_pairs(heads_E[1] // length, row_S, len(batch))
        spans_B = torch.bincount(row_S, minlength=len(batch))
        rank_S = torch.arange(len(row_S), device=row_S.device) - (spans_B.cumsum(0) - spans_B)[row_S]
        gold_PR = torch.zeros(len(head_P), self.config.link_outputs, dtype=torch.bool, device=row_S.device)
        head_K, tail_K, type_K = batch.gold_links_K3.unbind(dim=1)
        gold_PR[offset_E[head_of_span_S[head_K]] + rank_S[tail_K], type_K] = True
        if self.config.inverse_links:
            schema = self.config.schema
            # gold names both directions of a symmetric type: its inverse reading says nothing more, and stays silent
            inverted_R = torch.tensor([name not in schema.symmetric for name in schema.relation_types])
            inverse_P, inverse_K = offset_E[head_of_span_S[tail_K]] + rank_S[head_K], len(inverted_R) + type_K
            gold_PR[inverse_P, inverse_K] = inverted_R.to(type_K.device)[type_K]
        if not self.config.self_links:
            trained_P = torch.ones_like(head_P, dtype=torch.bool)
            trained_P[offset_E[head_of_span_S] + rank_S] = False
            head_P, tail_P, gold_PR = head_P[trained_P], tail_P[trained_P], gold_PR[trained_P]
        logits_PR = self.is_link(self._span_vectors(heads.hidden_SH, *heads_E),
                                 self._span_vectors(heads.hidden_SH, lefts_E, rights_E), head_P, tail_P)  # fmt: skip
        return link_loss(logits_PR, gold_PR)

    def _span_vectors(self, hidden_SH: Tensor, left_slots_E: Tensor, right_slots_E: Tensor) -> Tensor:
        """What stands for a span: its last subword (psi = 2, Eq. 6), or first and last (psi = 4, Eq. 7)."""
        last = hidden_SH.index_select(0, right_slots_E)
        return last if self.sides == 1 else torch.cat([hidden_SH.index_select(0, left_slots_E), last], dim=1)

    def rules(self, link_threshold: float | None = None) -> DecodingRules:
        """The configured ones, with another lambda if it is given."""
        return self.config.rules(link_threshold)

    @torch.no_grad()
    def propose(self, batch: Batch, link_threshold: float | None = None) -> Proposed:
        """Spans of a batch, before their links (`Proposed.linked`); switch to `eval()` yourself."""
        heads = ModelHeads(self, batch, self.encode(batch))
        return propose(batch, heads, self.rules(link_threshold), self.config.schema, self.limits)

    @torch.no_grad()
    def decode(self, batch: Batch, link_threshold: float | None = None) -> list[Prediction]:
        """One prediction for each example of the batch; switch to `eval()` yourself."""
        return self.propose(batch, link_threshold).linked().predictions()

    def predict(
        self, examples: Iterable[Example], batch_size: int | None = 32, link_threshold: float | None = None, *,
        max_tokens: int | None = None, workers: int = 0,
    ) -> list[Prediction]:  # fmt: skip
        """Predictions for examples, in order; gold annotation, if any, is not read. See `pipeline.stream`."""
        return list(stream(
            self, examples, batch_size, link_threshold=link_threshold, max_tokens=max_tokens, workers=workers
        ))  # fmt: skip

    def save_pretrained(self, folder: str | Path, tensors: dict[str, Tensor] | None = None) -> None:
        """Write config.json, model.safetensors and the tokenizer; the first two appear whole or not at all.

        Args:
            folder: is made where it does not exist.
            tensors: the state dict to write; None is this model's own (a sharded strategy gathers it first).

        Raises:
            ConfigError: the model was prepared for inference.
        """
        if self.prepared:
            raise ConfigError("a model prepared for inference cannot be saved: save it before")
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(target)
        alone = hub.without_shared(tensors or self.state_dict())  # before they are copied, which parts what is shared
        tensors = {name: value.detach().cpu().contiguous() for name, value in alone.items()}
        part = target / "model.safetensors.part"
        try:
            save_file(tensors, part, metadata={"format": "pt"})
            permit(part)  # safetensors writes for the owner alone
            part.replace(target / "model.safetensors")
        finally:
            part.unlink(missing_ok=True)
        write_atomically(target / "config.json", json.dumps(self.config.to_dict(), indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path, revision: str | None = None) -> IterModel:
        """Load what `save_pretrained` or the published code wrote, in `eval()` mode; nothing in it is executed.

        Args:
            folder: a folder, or the id of a model on the hub (`fleonce/iter-conll04-deberta-large`).
            revision: branch, tag or commit of a hub id.

        Raises:
            EncoderError: the model, or a file of it, is missing or does not fit.
        """
        source = hub.locate(folder, revision)
        return published.load(source, cls) if published.found_in(source) else loading.load(source, cls)


@dataclass(frozen=True)
class ModelHeads:
    """The model's decisions on one batch whose hidden states are given; see `decoding.Heads`."""

    model: IterModel
    batch: Batch
    hidden_SH: Tensor = field(repr=False)

    def left_logits(self) -> Tensor:
        """Eq. 4, [L]."""
        logits: Tensor = self.model.is_left(self.hidden_SH.index_select(0, self.batch.left_slots_L))
        return logits.squeeze(1)

    def span_logits(self, candidates: SpanCandidates) -> Tensor:
        """Eq. 5, [C, T]."""
        logits: Tensor = self.model.is_span(
            self.hidden_SH.index_select(0, candidates.left_slots_L),
            self.hidden_SH.index_select(0, candidates.right_slots_M),
            candidates.left_row_C, candidates.right_row_C, candidates.per_right,
        )  # fmt: skip
        return logits

    def link_logits(self, left_slots_E: Tensor, right_slots_E: Tensor, head_P: Tensor, tail_P: Tensor) -> Tensor:
        """Eq. 6 and 7, [P, R]; [P, 2R] with inverse links."""
        vectors = self.model._span_vectors(self.hidden_SH, left_slots_E, right_slots_E)
        assert self.model.is_link is not None  # decode asks only where the schema has relation types
        row_E = right_slots_E // self.batch.input_ids_BN.shape[1]
        return self.model.is_link.among(vectors, head_P, tail_P, row_E)
