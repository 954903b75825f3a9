"""Encoding without padding: the windows of a batch one after the other instead of each in a padded row.

B windows, N subwords of the longest, F subwords of all windows together, H hidden, A attention heads, D head size.

*Varlen*: one row of F subwords; every layer but attention never sees where a window ends, and attention runs inside
each window alone (on a CPU a call for each run of equal lengths, on a GPU flash attention with cumulative lengths).
*Rows*: windows share rows no longer than the longest of them, parted by a block-diagonal mask; for T5, whose relative
positions are counted inside a row, and where flash attention is none (float32 on a GPU, attention dropout).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PretrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from iter_lightning.features.lengths import portions

__all__ = ["can_pack", "enable", "encode_packed", "packed_attention", "portions", "share_rows", "way"]

VARLEN = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "albert", "modernbert"})
"""Model types whose attention can be given by name and whose positions can be given by number."""
ROWS = frozenset({"t5", "mt5", "bert", "roberta", "xlm-roberta", "camembert", "albert"})
"""Model types that take a block-diagonal mask; ModernBERT would lose its sliding window to it."""
SHIFTED = frozenset({"roberta", "xlm-roberta", "camembert"})
"""Model types whose positions start after the padding index."""
_SHORT = 256
"""Subwords up to which bfloat16 products on a CPU beat its flash attention."""
ATTENTION = "iter_packed"
"""Name under which transformers finds `packed_attention`."""


def can_pack(config: PretrainedConfig) -> bool:
    """Whether an encoder of this configuration can read windows without padding.

    DeBERTa refuses masks between positions, BART's encoder takes no positions.
    """
    return config.model_type in VARLEN | ROWS


def enable(encoder: nn.Module) -> None:
    """Give the encoder an attention that can part windows; padded batches are read as by `sdpa`."""
    config: Any = encoder.config
    if config.model_type in VARLEN and config._attn_implementation == "sdpa":
        AttentionInterface.register(ATTENTION, packed_attention)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)
        encoder.set_attn_implementation(ATTENTION)  # type: ignore[operator]


def way(encoder: nn.Module, device: torch.device) -> str | None:
    """How this encoder leaves padding out on this device, now: `varlen`, `rows`, or None, not at all."""
    config: Any = encoder.config
    flash = device.type == "cuda" and encoder.dtype in (torch.float16, torch.bfloat16)
    dropout = encoder.training and torch.is_grad_enabled()
    if config._attn_implementation == ATTENTION and (device.type == "cpu" or (flash and not dropout)):
        return "varlen"
    masks = config._attn_implementation in ("sdpa", ATTENTION)  # eager attention would add a bool mask
    return "rows" if masks and config.model_type in ROWS else None


def encode_packed(encoder: nn.Module, way: str, input_ids_BN: Tensor, lengths: Sequence[int]) -> Tensor:
    """Hidden states [F, H] of all subwords, window by window.

    Args:
        encoder: a Hugging Face stack after `enable`.
        way: `varlen` or `rows`, see the function of that name.
        input_ids_BN: padded ids.
        lengths: subwords of each window.
    """
    encode = _encode_varlen if way == "varlen" else _encode_rows
    lengths_B = torch.tensor(lengths)
    window_F = torch.arange(len(lengths)).repeat_interleave(lengths_B)
    within_F = torch.arange(len(window_F)) - (lengths_B.cumsum(0) - lengths_B)[window_F]
    return encode(encoder, input_ids_BN, lengths, window_F, within_F)


def _encode_varlen(
    encoder: nn.Module, input_ids_BN: Tensor, lengths: Sequence[int], window_F: Tensor, within_F: Tensor
) -> Tensor:
    """All windows in one row."""
    device = input_ids_BN.device
    window_F, within_F = _moved(torch.stack([window_F, within_F]), device).unbind()
    options: dict[str, Any] = {"window_lengths": torch.tensor(lengths)}
    if device.type == "cuda":
        ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        options = {"window_lengths": _moved(ends, device), "longest": max(lengths)}
    ids_1F = input_ids_BN[window_F, within_F].unsqueeze(0)
    positions_1F = (within_F + _first_position(encoder.config)).unsqueeze(0)
    hidden: Tensor = encoder(input_ids=ids_1F, position_ids=positions_1F, **options).last_hidden_state
    return hidden.squeeze(0)


def _encode_rows(
    encoder: nn.Module, input_ids_BN: Tensor, lengths: Sequence[int], window_F: Tensor, within_F: Tensor
) -> Tensor:
    """Windows in R shared rows of the longest one's length."""
    config: Any = encoder.config
    width = max(lengths)
    row_B, first_B, rows = share_rows(lengths, width)
    target_F = torch.tensor(row_B)[window_F] * width + torch.tensor(first_B)[window_F] + within_F
    index_3F = _moved(torch.stack([window_F, within_F, target_F]), input_ids_BN.device)
    window_F, within_F, target_F = index_3F.unbind()
    empty_S = input_ids_BN.new_zeros(rows * width)
    ids_RN = empty_S.scatter(0, target_F, input_ids_BN[window_F, within_F]).view(rows, width)
    block_RN = (empty_S - 1).scatter(0, target_F, window_F).view(rows, width)
    options = {}
    if config.model_type in VARLEN:  # absolute positions are given, T5's are relative
        first = _first_position(config)
        options["position_ids"] = (empty_S + first).scatter(0, target_F, within_F + first).view(rows, width)
    mask_R1NN = (block_RN.unsqueeze(2) == block_RN.unsqueeze(1)).unsqueeze(1)
    hidden: Tensor = encoder(input_ids=ids_RN, attention_mask=mask_R1NN, **options).last_hidden_state
    return hidden.flatten(0, 1).index_select(0, target_F)


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device; without waiting for a GPU, which copies from page-locked memory alone."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def share_rows(lengths: Sequence[int], width: int) -> tuple[list[int], list[int], int]:
    """First fit of windows into rows of `width` subwords.

    Returns:
        the row of each window, its first position there, and how many rows there are.
    """
    used: list[int] = []
    rows, firsts = [], []
    shortest = min(lengths)
    room: list[int] = []  # rows that may still take one, in their order
    for length in lengths:
        row = next((r for r in room if used[r] + length <= width), len(used))
        if row == len(used):
            used.append(0)
            room.append(row)
        rows.append(row)
        firsts.append(used[row])
        used[row] += length
        if used[row] + shortest > width:
            room.remove(row)
    return rows, firsts, len(used)


def packed_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    dropout: float = 0.0, scaling: float | None = None, window_lengths: Tensor | None = None, longest: int = 0,
    sliding_window: int | None = None, **options: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention inside each window of a packed row, [1, F, A, D]; without `window_lengths` transformers' own `sdpa`.

    Args:
        module, query, key, value, attention_mask, dropout, scaling, options: as transformers calls it; [1, A, F, D].
        window_lengths: subwords of each window; on a GPU their running sum, from 0.
        longest: of them.
        sliding_window: subwords a position sees on each side, itself included (ModernBERT's local layers).
    """
    if window_lengths is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)
    reach = -1 if sliding_window is None else sliding_window - 1
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.device.type == "cuda":
        return _flash(query, key, value, window_lengths, longest, scale, reach), None
    if torch.compiler.is_compiling():
        return _windows_op(query, key, value, window_lengths, scale, reach), None
    return _windows(query, key, value, window_lengths.tolist(), scale, reach, dropout), None


def _windows(
    query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scale: float, reach: int, dropout: float = 0.0
) -> Tensor:
    """[1, F, A, D]: one call for each run of windows of equal length, so that nothing is padded or masked."""
    heads, size = query.shape[1], query.shape[3]
    query, key, value = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))  # [F, A, D]
    parts, start = [], 0
    for length, count in _runs(lengths):
        part = slice(start, start := start + length * count)
        q, k, v = (x[part].view(count, length, heads, size).transpose(1, 2) for x in (query, key, value))
        mask = _band(length, reach, q.device) if 0 <= reach < length - 1 else None
        if q.dtype == torch.bfloat16 and length <= _SHORT and mask is None and not dropout:
            mixed = ((q * scale) @ k.transpose(-1, -2)).softmax(dim=-1) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale)
        parts.append(mixed.transpose(1, 2).reshape(length * count, heads, size))
    return torch.cat(parts).unsqueeze(0)


def _runs(lengths: list[int]) -> list[tuple[int, int]]:
    """(length, how many in a row)."""
    runs: list[tuple[int, int]] = []
    for length in lengths:
        count = runs.pop()[1] if runs and runs[-1][0] == length else 0
        runs.append((length, count + 1))
    return runs


def _band(length: int, reach: int, device: torch.device) -> Tensor:
    """Bool [length, length]: positions at most `reach` apart."""
    position = torch.arange(length, device=device)
    return (position.unsqueeze(0) - position.unsqueeze(1)).abs() <= reach


@torch.library.custom_op("iter_lightning::windows", mutates_args=())
def _windows_op(query: Tensor, key: Tensor, value: Tensor, lengths: Tensor, scale: float, reach: int) -> Tensor:
    """`_windows` as one node of a compiled graph, whatever the lengths."""
    return _windows(query, key, value, lengths.tolist(), scale, reach)


@_windows_op.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, lengths: Tensor, scale: float, reach: int) -> Tensor:
    return query.new_empty(1, query.shape[2], query.shape[1], query.shape[3])


def _flash(query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int, scale: float, reach: int) -> Tensor:
    """[1, F, A, D] by flash attention over windows of any lengths."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))  # [F, A, D]
    mixed: Any = varlen_attn(query, key, value, ends, ends, longest, longest, scale=scale, window_size=(reach, reach))
    return mixed.unsqueeze(0)  # type: ignore[no-any-return]


def _first_position(config: Any) -> int:
    return int(config.pad_token_id) + 1 if config.model_type in SHIFTED else 0
