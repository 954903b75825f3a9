"""The part of the model that reads examples: tokenizer, batches, and the encoder.

B windows, N subwords, S = B * N slots, H hidden, F filled slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from iter_lightning.cancellation import cancellable
from iter_lightning.errors import EncoderError
from iter_lightning.features.alignment import Aligner, EncodedExample
from iter_lightning.features.batching import Batch, collate
from iter_lightning.model import packing, pretrained
from iter_lightning.model.config import IterConfig
from iter_lightning.model.decoding import SpanProposals
from iter_lightning.model.heads import GatedFeedForward, PairFeedForward
from iter_lightning.model.label_layers import LabelLinear, label_vectors
from iter_lightning.types import LabelSet, Prediction

_ENCODED_AT_ONCE = {"cpu": 2048, "cuda": 65_536}
"""Subwords per call of the encoder without gradients: few enough for a CPU's caches, many for a GPU's throughput."""


class IterBase(nn.Module):
    """Base of `IterModel`, on which loading and prediction depend. Subclasses set the attributes and find spans."""

    config: IterConfig
    encoder: nn.Module
    tokenizer: PreTrainedTokenizerBase | None
    is_left: GatedFeedForward
    is_span: PairFeedForward
    is_link: PairFeedForward | None
    max_subwords: int
    """Longest window that the model reads."""
    packing: bool | None
    """Whether `encode` leaves padding out if the encoder can; None: only without gradients."""

    def propose(self, batch: Batch, link_threshold: float | None = None) -> SpanProposals:
        """Find the spans of a batch; `SpanProposals.link` goes on to their links. Call `eval()` first."""
        raise NotImplementedError

    @torch.no_grad()
    def decode(self, batch: Batch, link_threshold: float | None = None) -> list[Prediction]:
        """Return one prediction per example of the batch. Call `eval()` first."""
        return self.propose(batch, link_threshold).link().predictions()

    def ask(self, labels: LabelSet) -> None:
        """Generate the output layers of an open model for some labels.

        Raises:
            EncoderError: the model was built without a tokenizer.
        """
        for name, (weight, bias) in self.output_layers(labels).items():
            layer = getattr(self, name).w_out
            layer.weight, layer.bias = weight, bias

    def output_layers(self, labels: LabelSet) -> dict[str, tuple[Tensor, Tensor]]:
        """Generate the weights and biases of the output layers for some labels, by the names of the heads.

        Raises:
            EncoderError: the model was built without a tokenizer.
        """
        if self.tokenizer is None:
            raise EncoderError("this model was built without a tokenizer, so it cannot read labels")
        vectors_TH = label_vectors(self.encoder, self.tokenizer, (*labels.entities, *labels.relations))
        entities_TH, relations_TH = vectors_TH[: len(labels.entities)], vectors_TH[len(labels.entities) :]
        read = {"is_left": entities_TH, "is_span": entities_TH, "is_link": relations_TH}
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for name, vectors in read.items():
            head = getattr(self, name)
            if head is not None and len(vectors):
                assert isinstance(head.w_out, LabelLinear)
                found[name] = head.w_out.generate(vectors)
        return found

    def aligner(self) -> Aligner:
        """Build the aligner that encodes examples for this model.

        Raises:
            EncoderError: the model was built without a tokenizer.
        """
        if self.tokenizer is None:
            raise EncoderError("this model was built without a tokenizer, so it cannot encode examples")
        return pretrained.build_aligner(self.tokenizer, self.config, self.max_subwords)

    @property
    def pad_id(self) -> int:
        """The id of the padding token; 0 if the tokenizer has none."""
        return pretrained.padding_id(self.tokenizer)

    def collate(self, windows: Sequence[tuple[EncodedExample, int]]) -> Batch:
        """Pad windows into a batch with this model's padding token and word-boundary rule; see `features.collate`."""
        return collate(windows, self.pad_id, self.config.respect_word_boundaries)

    def encode(self, batch: Batch) -> Tensor:
        """Compute the hidden states of all slots.

        Without gradients, windows go through the encoder in portions, so that memory is bounded.

        Returns:
            [S, H]; zero at padding if padding is left out (see `packing`).
        """
        # Cut the batch into portions of windows.
        lengths, width = batch.lengths, max(1, batch.input_ids_BN.shape[1])
        strategy = packing.packing_strategy(self.encoder, batch.input_ids_BN.device) if self._packs() else None
        taken = lengths if strategy else [width] * len(lengths)
        at_once = _ENCODED_AT_ONCE.get(batch.input_ids_BN.device.type, 2048)
        portions = packing.portions(taken, sum(taken) if torch.is_grad_enabled() else at_once)

        # With padding: the encoder's output is already [windows, N, H].
        if strategy is None:
            parts = ((batch.input_ids_BN[part], batch.mask_BN[part].long()) for part in cancellable(portions))
            hidden = [self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state for ids, mask in parts]
            return torch.cat(hidden).flatten(0, 1) if len(hidden) > 1 else hidden[0].flatten(0, 1)

        # Without padding: only filled slots are computed, then put into their places.
        hidden_FH = torch.cat([
            packing.encode_packed(self.encoder, strategy, batch.input_ids_BN[part], lengths[part])
            for part in cancellable(portions)
        ])  # fmt: skip
        if len(hidden_FH) == len(lengths) * width:
            return hidden_FH
        return hidden_FH.new_zeros(len(lengths) * width, hidden_FH.shape[1]).index_copy(
            0, batch.filled_slots_F, hidden_FH
        )

    def _packs(self) -> bool:
        return not torch.is_grad_enabled() if self.packing is None else self.packing
