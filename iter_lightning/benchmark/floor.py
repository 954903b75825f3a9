"""The floor: the bare Hugging Face encoder on the same sentences, sorted by length and padded, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from iter_lightning.benchmark.architectures import bare_encoder
from iter_lightning.features.batching import length_batches
from iter_lightning.model import IterModel
from iter_lightning.model import encoder as encoders
from iter_lightning.types import Example


class Floor:
    """A forward pass of the encoder alone, in float32, over batches that are ready on its device.

    Args:
        model: gives the encoder's weights and the tokenizer; as loaded, not prepared for inference.
        examples: their windows are read.
        batch_size: windows a batch, at most; None leaves it open.
        max_tokens: padded subwords a batch, at most.
        encoder: a `bare_encoder` of the model's weights, where there is one.
    """

    def __init__(
        self, model: IterModel, examples: Sequence[Example], batch_size: int | None, max_tokens: int | None = None,
        encoder: nn.Module | None = None,
    ) -> None:  # fmt: skip
        self.encoder = encoder if encoder is not None else floor_encoder(model)
        device = next(model.parameters()).device
        rows = id_rows(model, examples)
        self.lengths = [len(row) for row in rows]
        order = sorted(range(len(rows)), key=lambda row: -self.lengths[row])
        pad = model.tokenizer.pad_token_id if model.tokenizer is not None else 0
        groups = length_batches(self.lengths, order, batch_size or len(rows), max_tokens)
        self.batches = [_padded([rows[row] for row in group], pad or 0, device) for group in groups]

    @torch.inference_mode()
    def __call__(self) -> None:
        """One pass."""
        for ids_BN, mask_BN in self.batches:
            self.encoder(input_ids=ids_BN, attention_mask=mask_BN)


def floor_encoder(model: IterModel) -> nn.Module:
    """The model's encoder as transformers builds it: its best attention of `eager` and `sdpa`, no changes of ours."""
    encoder = bare_encoder(encoders.config_from_dict(model.config.encoder), model.encoder)
    return encoder.to(next(model.parameters()).device)


def attention_of(encoder: nn.Module) -> str:
    """`sdpa` or `eager`."""
    config: Any = encoder.config
    return str(config._attn_implementation)


def id_rows(model: IterModel, examples: Sequence[Example]) -> list[list[int]]:
    """Subword ids of every window of the examples."""
    bare = [Example(e.words, id=e.id, left_context=e.left_context, right_context=e.right_context) for e in examples]
    return [window.input_ids for encoded in model.aligner().encode(bare) for window in encoded.windows]


def _padded(rows: list[list[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return ids, mask
