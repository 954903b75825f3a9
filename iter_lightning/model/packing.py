"""Encoding without padding: the windows of a batch follow each other instead of filling a padded row each.

B windows, N subwords of the longest, F subwords of all windows together, H hidden, A attention heads, D head size.

There are two strategies:

* `varlen`: one row of F subwords. All layers except attention work on single subwords; attention runs inside each
  window (on a CPU one call per run of equal lengths, on a GPU flash attention with cumulative lengths).
* `rows`: windows share rows that are as long as the longest window, separated by a block-diagonal mask. Used for T5,
  whose relative positions are counted inside a row, and if flash attention is unavailable (float32 on a GPU, attention
  dropout).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PretrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from iter_lightning.features.lengths import portions
from iter_lightning.model.families import family_of

__all__ = ["can_pack", "enable", "encode_packed", "packed_attention", "packing_strategy", "portions", "share_rows"]

PackingStrategy = Literal["varlen", "rows"]

_SHORT = 256
"""Longest window in subwords for which plain bfloat16 products are faster than flash attention on a CPU."""
ATTENTION = "iter_packed"
"""Name under which `packed_attention` is registered with transformers."""


def can_pack(config: PretrainedConfig) -> bool:
    """Return whether an encoder of this configuration can encode windows without padding.

    DeBERTa rejects masks between positions, and BART's encoder accepts no position ids.
    """
    family = family_of(config)
    return family.packs_varlen or family.packs_rows


def enable(encoder: nn.Module) -> None:
    """Switch the encoder to `packed_attention`, which computes padded batches as `sdpa` does."""
    config: Any = encoder.config
    if family_of(config).packs_varlen and attention_name(encoder) == "sdpa":
        AttentionInterface.register(ATTENTION, packed_attention)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)
        encoder.set_attn_implementation(ATTENTION)  # type: ignore[operator]


def attention_name(encoder: nn.Module) -> str | None:
    """Return the name of the encoder's attention, or None if this version of transformers does not tell it.

    There is no public way to ask. With None, padding is not left out.
    """
    config: Any = encoder.config
    try:
        return config._attn_implementation  # type: ignore[no-any-return]
    except AttributeError:
        return None


def packing_strategy(encoder: nn.Module, device: torch.device) -> PackingStrategy | None:
    """Choose how this encoder leaves padding out on this device, in its current mode.

    Returns:
        `varlen`, `rows`, or None if it cannot.
    """
    config: Any = encoder.config
    flash = device.type == "cuda" and encoder.dtype in (torch.float16, torch.bfloat16)
    dropout = encoder.training and torch.is_grad_enabled()
    if attention_name(encoder) == ATTENTION and (device.type == "cpu" or (flash and not dropout)):
        return "varlen"
    masks = attention_name(encoder) in ("sdpa", ATTENTION)  # eager attention would add a bool mask
    return "rows" if masks and family_of(config).packs_rows else None


def encode_packed(
    encoder: nn.Module, strategy: PackingStrategy, input_ids_BN: Tensor, lengths: Sequence[int]
) -> Tensor:
    """Compute the hidden states of all subwords, window by window.

    Args:
        encoder: a Hugging Face encoder after `enable`.
        strategy: what `packing_strategy` returned.
        input_ids_BN: padded ids.
        lengths: subwords of each window.

    Returns:
        [F, H].
    """
    encode = _encode_varlen if strategy == "varlen" else _encode_rows
    lengths_B = torch.tensor(lengths)
    window_F = torch.arange(len(lengths)).repeat_interleave(lengths_B)
    within_F = torch.arange(len(window_F)) - (lengths_B.cumsum(0) - lengths_B)[window_F]
    return encode(encoder, input_ids_BN, lengths, window_F, within_F)


def _encode_varlen(
    encoder: nn.Module, input_ids_BN: Tensor, lengths: Sequence[int], window_F: Tensor, within_F: Tensor
) -> Tensor:
    """Encode all windows in one row."""
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
    """Encode the windows in R shared rows, as long as the longest window."""
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
    if family_of(config).packs_varlen:  # absolute positions are given, T5's are relative
        first = _first_position(config)
        options["position_ids"] = (empty_S + first).scatter(0, target_F, within_F + first).view(rows, width)
    mask_R1NN = (block_RN.unsqueeze(2) == block_RN.unsqueeze(1)).unsqueeze(1)
    hidden: Tensor = encoder(input_ids=ids_RN, attention_mask=mask_R1NN, **options).last_hidden_state
    return hidden.flatten(0, 1).index_select(0, target_F)


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to a device; to a GPU through page-locked memory, without waiting for the copy."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def share_rows(lengths: Sequence[int], width: int) -> tuple[list[int], list[int], int]:
    """Distribute windows over rows of `width` subwords by first fit.

    Returns:
        the row of each window, its first position in that row, and the number of rows.

    Example:
        >>> share_rows([4, 3, 1], width=5)
        ([0, 1, 0], [0, 0, 4], 2)
    """
    used: list[int] = []
    rows, firsts = [], []
    shortest = min(lengths)
    room: list[int] = []  # rows with space for at least one more window, in order
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
    """Compute attention inside each window of a packed row; without `window_lengths`, transformers' `sdpa` attention.

    The other arguments are those with which transformers calls an attention function.

    Args:
        module: the attention layer.
        query: [1, A, F, D].
        key: [1, A, F, D].
        value: [1, A, F, D].
        attention_mask: used only without `window_lengths`.
        dropout: probability.
        scaling: factor on the scores; None is 1 / sqrt(D).
        window_lengths: number of subwords of each window; on a GPU their cumulative sum, starting with 0.
        longest: length of the longest window.
        sliding_window: subwords that a position attends to on each side, itself included (ModernBERT's local layers).
        options: passed on to `sdpa`.

    Returns:
        [1, F, A, D], and None for the attention weights.
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
    """Call attention once per run of windows of equal length, so that nothing is padded or masked; [1, F, A, D]."""
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
    """Return (length, number of consecutive windows of this length)."""
    runs: list[tuple[int, int]] = []
    for length in lengths:
        count = runs.pop()[1] if runs and runs[-1][0] == length else 0
        runs.append((length, count + 1))
    return runs


def _band(length: int, reach: int, device: torch.device) -> Tensor:
    """Return bool [length, length], true for positions at most `reach` apart."""
    position = torch.arange(length, device=device)
    return (position.unsqueeze(0) - position.unsqueeze(1)).abs() <= reach


@torch.library.custom_op("iter_lightning::windows", mutates_args=())
def _windows_op(query: Tensor, key: Tensor, value: Tensor, lengths: Tensor, scale: float, reach: int) -> Tensor:
    """Wrap `_windows` as one node of a compiled graph, for any lengths."""
    return _windows(query, key, value, lengths.tolist(), scale, reach)


@_windows_op.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, lengths: Tensor, scale: float, reach: int) -> Tensor:
    return query.new_empty(1, query.shape[2], query.shape[1], query.shape[3])


def _flash(query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int, scale: float, reach: int) -> Tensor:
    """Compute flash attention over windows of any lengths, [1, F, A, D]."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))  # [F, A, D]
    mixed: Any = varlen_attn(query, key, value, ends, ends, longest, longest, scale=scale, window_size=(reach, reach))
    return mixed.unsqueeze(0)  # type: ignore[no-any-return]


def _first_position(config: Any) -> int:
    return int(config.pad_token_id) + 1 if family_of(config).shifted_positions else 0
