"""Tracing of a model's encoder and heads to ONNX graphs; requires torch and onnx.

B windows, N subwords, X, Y rows of operands, H hidden, E entities, P pairs.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from iter_lightning.apps.onnx.graphs import default_threads, open_session
from iter_lightning.errors import ConfigError
from iter_lightning.model.decoding import decided_scores
from iter_lightning.model.families import FAMILIES
from iter_lightning.model.heads import GatedFeedForward, PairFeedForward
from iter_lightning.model.iter import IterModel

TOLERANCE = 1e-3
"""Largest allowed difference of an export in float32: of scores, and of outputs relative to the largest of them."""
_SHAPES = ((1, 1), (1, 3), (2, 17), (3, 64), (5, 200), (1, 512))
"""Windows and subwords at which the encoder's graph is compared with the encoder."""
_ONE_FILE = 2**30
"""Bytes of weights above which they are stored beside the graph, since one file may not exceed 2 GB."""
Traced = tuple[str, nn.Module, dict[str, tuple[Tensor, str]], list[str]]
"""Name of a graph, its network, for each input a value and the name of its first axis, and names of the outputs."""


class _Encoder(nn.Module):
    """Ids and mask [B, N] to hidden states [B, N, H]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return hidden


class _IsLeft(nn.Module):
    """Vectors [X, H] to logits and probabilities [X]; of several types the largest logit."""

    def __init__(self, head: GatedFeedForward) -> None:
        super().__init__()
        self.head = head

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.head.gate(self.head.w_in(vectors)).amax(dim=1)
        return logits, logits.sigmoid()


class _Pairs(nn.Module):
    """A pair head with one inner projection per operand (W·[x; y] = W₁x + W₂y)."""

    def __init__(self, head: PairFeedForward, type_decision: Any = None) -> None:
        super().__init__()
        self.head = head
        self.type_decision = type_decision
        self.first, self.second = (_linear(weight) for weight in head.w_in.weight.chunk(2, dim=1))

    def logits(self, first_X2F: Tensor, second_Y2F: Tensor, first_P: Tensor, second_P: Tensor) -> Tensor:
        return self.head.gate(first_X2F.index_select(0, first_P) + second_Y2F.index_select(0, second_P))


class _IsSpan(_Pairs):
    """Lefts [X, H], rights [Y, H], pairs of them and scores of the lefts [P] to logits and decided scores [P, T]."""

    def forward(
        self, lefts: Tensor, rights: Tensor, left_of_pair: Tensor, right_of_pair: Tensor, left_score: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = self.logits(self.first(lefts), self.second(rights), left_of_pair, right_of_pair)
        valid = torch.ones_like(left_of_pair, dtype=torch.bool)
        return logits, decided_scores(logits, valid, left_score, self.type_decision)


class _LinkOperands(_Pairs):
    """Vectors [E, H or 2H] to their projections as head and as tail [E, 2F]."""

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        return self.first(vectors), self.second(vectors)


class _IsLink(_Pairs):
    """Projections [E, 2F] and pairs of them [P] to logits and probabilities [P, R]."""

    def forward(
        self, heads: Tensor, tails: Tensor, head_of_pair: Tensor, tail_of_pair: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = self.logits(heads, tails, head_of_pair, tail_of_pair)
        return logits, logits.sigmoid()


def _linear(weight: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    made.weight = nn.Parameter(weight.detach().contiguous(), requires_grad=False)
    return made


def _heads(model: IterModel, rows: int) -> Iterator[Traced]:
    """Yield the networks of all heads, with inputs of `rows` vectors."""
    lefts, rights = _vectors(rows, model.is_left.w_in.in_features), _vectors(rows + 2, model.is_left.w_in.in_features)
    pairs = torch.arange(2 * rows + 1)
    first, second, both = (pairs % rows, "pairs"), (pairs % (rows + 2), "pairs"), ["logits", "scores"]
    yield "is_left", _IsLeft(model.is_left), {"vectors": (lefts, "positions")}, both
    yield "is_span", _IsSpan(model.is_span, model.config.type_decision), {
        "lefts": (lefts, "lefts"), "rights": (rights, "rights"), "left_of_pair": first, "right_of_pair": second,
        "left_score": (torch.ones(len(pairs)), "pairs"),
    }, both  # fmt: skip
    if model.is_link is None:
        return
    operands, vectors = _LinkOperands(model.is_link), _vectors(rows, model.sides * lefts.shape[1])
    yield "link_operands", operands, {"vectors": (vectors, "entities")}, ["heads", "tails"]
    heads, tails = operands(vectors)
    yield "is_link", _IsLink(model.is_link), {
        "heads": (heads, "entities"), "tails": (tails, "entities"),
        "head_of_pair": first, "tail_of_pair": (first[0].flip(0), "pairs"),
    }, both  # fmt: skip


def tested_families() -> list[str]:
    """Return the model types whose exports are tested."""
    return [name for name, family in FAMILIES.items() if family.onnx]


@torch.no_grad()
def trace(model: IterModel, folder: Path) -> None:
    """Write the graphs of a model in float32 on the CPU. The model's attention becomes a plain product and softmax.

    Raises:
        ConfigError: the encoder cannot be exported.
    """
    kind = model.config.encoder.get("model_type")
    ids = _ids(model, 2, min(11, model.max_subwords))
    axes = {name: {0: "batch", 1: "length"} for name in ("input_ids", "attention_mask")}
    encoder: Any = model.encoder
    try:
        encoder.set_attn_implementation("eager")
        inputs = {"input_ids": ids, "attention_mask": _mask(*ids.shape)}
        _export(_Encoder(encoder), folder / "encoder.onnx", inputs, axes, ["hidden"])
    except Exception as error:  # the exporter raises any error for a network that it cannot trace
        raise ConfigError(
            f"an encoder of type {kind} cannot be exported to ONNX ({_cause(error)}); types that can: "
            f"{', '.join(tested_families())}"
        ) from error
    for name, network, given, outputs in _heads(model, 3):
        values = {key: value for key, (value, _) in given.items()}
        first_axes = {key: {0: axis} for key, (_, axis) in given.items()}
        _export(network, folder / f"{name}.onnx", values, first_axes, outputs)


def _export(
    network: nn.Module, path: Path, inputs: dict[str, Tensor], axes: dict[str, dict[int, str]], outputs: list[str]
) -> None:
    size = sum(p.numel() * p.element_size() for p in network.parameters())
    with quietly():
        torch.onnx.export(
            network.eval(), kwargs=inputs, f=str(path), dynamo=True, verbose=False, input_names=list(inputs),
            output_names=outputs, dynamic_shapes=axes, external_data=size > _ONE_FILE,
        )  # fmt: skip


@torch.no_grad()
def verify(model: IterModel, folder: Path) -> None:
    """Compare the graphs in float32 with the model's encoder and heads, at other sizes than they were traced with.

    Raises:
        ConfigError: they differ, or a graph does not run at another size.
    """
    session = open_session(folder / "encoder.onnx", default_threads())
    for windows, length in _SHAPES:
        ids = _ids(model, windows, min(length, model.max_subwords))
        mask = _mask(*ids.shape)
        want = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        inputs = {"input_ids": ids, "attention_mask": mask}
        _compare(model, "encoder", session, inputs, want, f"{ids.shape[0]} windows of {ids.shape[1]} subwords", mask)
    for name, network, given, _ in _heads(model, 8):
        inputs = {key: value for key, (value, _) in given.items()}
        want, session = network.eval()(**inputs)[0], open_session(folder / f"{name}.onnx", default_threads())
        _compare(model, name, session, inputs, want, "8 vectors", torch.ones(len(want)))


def _compare(
    model: IterModel, name: str, session: Any, inputs: dict[str, Tensor], want: Tensor, size: str, mask: Tensor
) -> None:
    graph = f"the graph {name} of a {model.config.encoder.get('model_type')} model"
    known = f"types that can be exported: {', '.join(tested_families())}"
    kept, expected = mask.numpy().astype(bool), want.numpy()
    try:
        found = session.run(None, {key: value.numpy() for key, value in inputs.items()})[0]
    except Exception as error:  # errors of onnxruntime have no other common class
        raise ConfigError(f"{graph} does not run on {size} ({_cause(error)}); {known}") from error
    difference = np.abs(found[kept] - expected[kept]).max() / max(1.0, float(np.abs(expected[kept]).max()))
    if not difference <= TOLERANCE:
        raise ConfigError(
            f"{graph} differs from the model by {difference:.2g} on {size} (allowed: {TOLERANCE}); {known}"
        )


def quantize(folder: Path) -> None:
    """Replace the graphs in a folder by graphs with matrix products and embeddings in 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    made = folder / "int8"
    made.mkdir()
    for path in sorted(folder.glob("*.onnx")):
        data = path.with_name(f"{path.name}.data")
        with quietly():
            quantize_dynamic(
                path, made / path.name, per_channel=True, weight_type=QuantType.QInt8,
                reduce_range=True,  # 7 bits per weight: CPUs without VNNI add pairs of products in 16 bits
                use_external_data_format=data.exists(),
            )  # fmt: skip
        data.unlink(missing_ok=True)
    for path in sorted(made.iterdir()):  # moved at the end: a graph contains the name of its data file
        path.replace(folder / path.name)
    made.rmdir()


def _cause(error: BaseException) -> str:
    """Return the innermost error in one line; exporters wrap it several times."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def opset_of(path: Path) -> int:
    """Return the version of ONNX's operators that a graph uses."""
    import onnx

    imports = onnx.load(str(path), load_external_data=False).opset_import
    return int(next(each.version for each in imports if each.domain in ("", "ai.onnx")))


def _vectors(rows: int, size: int) -> Tensor:
    return torch.linspace(-9, 9, rows * size).sin().view(rows, size)


def _ids(model: IterModel, windows: int, length: int) -> Tensor:
    """Make ids from the whole vocabulary, without padding, from which some encoders count positions."""
    size = int(model.config.encoder["vocab_size"])
    ids = (torch.arange(windows * length) * 7919 + 3) % size
    return torch.where(ids == model.pad_id, (ids + 1) % size, ids).view(windows, length)


def _mask(windows: int, length: int) -> Tensor:
    """Make each window a third shorter than the one before."""
    lengths = torch.tensor([max(1, length * 2**row // 3**row) for row in range(windows)])
    return (torch.arange(length) < lengths[:, None]).long()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Suppress warnings and prints of the exporter and the quantizer."""
    loggers = [logging.getLogger(), logging.getLogger("torch.onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
