"""From a network to graphs: what is traced, written, compared and quantised; needs torch and onnx.

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
from iter_lightning.model.heads import GatedFeedForward, PairFeedForward
from iter_lightning.model.iter import IterModel

FAMILIES = ("albert", "bart", "bert", "deberta-v2", "modernbert", "roberta", "t5")
"""Model types whose export tests hold to the model: DeBERTa-v3 is a deberta-v2, FLAN-T5 a t5."""
TOLERANCE = 1e-3
"""Largest difference an export in float32 may have, in hidden states (of their largest), logits and scores."""
_SHAPES = ((1, 1), (1, 3), (2, 17), (3, 64), (5, 200), (1, 512))
"""Windows and their lengths that the encoder's graph is compared at."""
_ONE_FILE = 2**30
"""Bytes of weights past which they lie in a file beside the graph: one file holds no more than 2 GB."""


class _Encoder(nn.Module):
    """[B, N] ids and mask to hidden states [B, N, H]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return hidden


class _IsLeft(nn.Module):
    """Vectors [X, H] to logits and probabilities [X]."""

    def __init__(self, head: GatedFeedForward) -> None:
        super().__init__()
        self.head = head

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.head.gate(self.head.w_in(vectors)).squeeze(1)
        return logits, logits.sigmoid()


class _Pairs(nn.Module):
    """A pair head with an inner projection for each operand (`PairFeedForward`: W [x; y] = W_x x + W_y y)."""

    def __init__(self, head: PairFeedForward, type_decision: str = "") -> None:
        super().__init__()
        self.head = head
        self.type_decision = type_decision
        self.first, self.second = (_linear(weight) for weight in head.w_in.weight.chunk(2, dim=1))

    def logits(self, first_X2F: Tensor, second_Y2F: Tensor, first_P: Tensor, second_P: Tensor) -> Tensor:
        return self.head.gate(first_X2F.index_select(0, first_P) + second_Y2F.index_select(0, second_P))


class _IsSpan(_Pairs):
    """Pairs of lefts [X, H] and rights [Y, H], scores of the lefts [P] to logits and scores of decided types [P, T]."""

    def forward(
        self, lefts: Tensor, rights: Tensor, left_of_pair: Tensor, right_of_pair: Tensor, left_score: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = self.logits(self.first(lefts), self.second(rights), left_of_pair, right_of_pair)
        valid = torch.ones_like(left_of_pair, dtype=torch.bool)
        return logits, decided_scores(logits, valid, left_score, self.type_decision)


class _LinkOperands(_Pairs):
    """Vectors [E, H or 2H] to what each is as head and as tail [E, 2F]."""

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        return self.first(vectors), self.second(vectors)


class _IsLink(_Pairs):
    """Pairs of operands [E, 2F] to logits and probabilities [P, R]."""

    def forward(
        self, heads: Tensor, tails: Tensor, head_of_pair: Tensor, tail_of_pair: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = self.logits(heads, tails, head_of_pair, tail_of_pair)
        return logits, logits.sigmoid()


def _linear(weight: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    made.weight = nn.Parameter(weight.detach().contiguous(), requires_grad=False)
    return made


def trace(model: IterModel, folder: Path) -> None:
    """Write the graphs of a model (float32, on the CPU, in `eval()` mode) into a folder.

    Raises:
        ConfigError: an encoder that does not export.
    """
    ids = _ids(model, 2, min(11, model.max_subwords))
    encoder = (ids, _mask(*ids.shape))
    rows: Any = ("batch", "length")
    kind = model.config.encoder.get("model_type")
    try:
        with _plain_attention(model.encoder):
            _export(_Encoder(model.encoder), folder / "encoder.onnx", encoder, (rows, rows), ["hidden"])
    except Exception as error:  # whatever the exporter stumbles over in a network
        raise ConfigError(
            f"an encoder of type {kind} does not export to ONNX ({_cause(error)}); those that do: {', '.join(FAMILIES)}"
        ) from error
    _trace_heads(model, folder)


def _trace_heads(model: IterModel, folder: Path) -> None:
    hidden, both = model.is_left.w_in.in_features, ["logits", "scores"]
    lefts, rights = torch.zeros(3, hidden), torch.zeros(5, hidden)
    of_left, of_right = torch.arange(7) % 3, torch.arange(7) % 5
    _export(_IsLeft(model.is_left), folder / "is_left.onnx", (lefts,), (("positions",),), both)
    span = _IsSpan(model.is_span, model.config.type_decision)
    _export(span, folder / "is_span.onnx", (lefts, rights, of_left, of_right, torch.zeros(7)),
            (("lefts",), ("rights",), *[("pairs",)] * 3), both)  # fmt: skip
    if model.is_link is None:
        return
    vectors, inner = torch.zeros(3, model.sides * hidden), torch.zeros(3, model.is_link.inner)
    _export(
        _LinkOperands(model.is_link), folder / "link_operands.onnx", (vectors,), (("entities",),), ["heads", "tails"]
    )
    _export(_IsLink(model.is_link), folder / "is_link.onnx", (inner, inner.clone(), of_left, of_left.flip(0)),
            (("entities",), ("entities",), ("pairs",), ("pairs",)), both)  # fmt: skip


def _export(
    network: nn.Module, path: Path, inputs: tuple[Tensor, ...], axes: tuple[tuple[str, ...], ...], outputs: list[str]
) -> None:
    """Trace one network; `axes` names those of each input that vary."""
    names = list(network.forward.__code__.co_varnames[1 : 1 + len(inputs)])
    size = sum(p.numel() * p.element_size() for p in network.parameters())
    with quietly(), torch.no_grad():
        torch.onnx.export(
            network.eval(), inputs, str(path), dynamo=True, verbose=False, input_names=names, output_names=outputs,
            dynamic_shapes=tuple(dict(enumerate(each)) for each in axes), external_data=size > _ONE_FILE,
        )  # fmt: skip


def verify_encoder(model: IterModel, folder: Path) -> None:
    """Hold the encoder's graph to the encoder at several shapes, padded and not.

    Raises:
        ConfigError: they differ, or the graph runs at none but the traced shape.
    """
    kind = model.config.encoder.get("model_type")
    session = open_session(folder / "encoder.onnx", default_threads())
    for windows, length in _SHAPES:
        ids = _ids(model, windows, min(length, model.max_subwords))
        mask = _mask(*ids.shape)
        filled = mask.numpy().astype(bool)
        with torch.no_grad():
            want = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()[filled]
        at = f"{ids.shape[0]} windows of {ids.shape[1]} subwords"
        try:
            found = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0][filled]
        except Exception as error:  # onnxruntime's own have no common class but this
            raise ConfigError(
                f"the exported {kind} encoder does not run on {at} ({_cause(error)}); types that export: "
                f"{', '.join(FAMILIES)}"
            ) from error
        difference = float(np.abs(found - want).max()) / max(1.0, float(np.abs(want).max()))
        if not difference <= TOLERANCE:
            raise ConfigError(
                f"the exported {kind} encoder differs from the encoder by {difference:.2g} on {at} (allowed: "
                f"{TOLERANCE}); types that export: {', '.join(FAMILIES)}"
            )


def quantise(folder: Path) -> None:
    """Replace the graphs in a folder by ones with products in 8 bits and embeddings stored in 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    made = folder / "int8"
    made.mkdir()
    for path in sorted(folder.glob("*.onnx")):
        data = path.with_name(f"{path.name}.data")
        with quietly():
            quantize_dynamic(
                path, made / path.name, per_channel=True, weight_type=QuantType.QInt8,
                reduce_range=True,  # 7 bits of weight: processors without VNNI add pairs of products in 16
                use_external_data_format=data.exists(),
            )  # fmt: skip
        data.unlink(missing_ok=True)
    for path in sorted(made.iterdir()):  # the name of a graph's data is written in the graph
        path.replace(folder / path.name)
    made.rmdir()


def _cause(error: BaseException) -> str:
    """What went wrong at the bottom, in one line; exporters wrap it several times."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def opset_of(path: Path) -> int:
    """The version of ONNX's own operators that a graph uses."""
    import onnx

    imports = onnx.load(str(path), load_external_data=False).opset_import
    return int(next(each.version for each in imports if each.domain in ("", "ai.onnx")))


def _ids(model: IterModel, windows: int, length: int) -> Tensor:
    """Ids of the vocabulary, without the one that fills, from which some encoders count positions."""
    size = int(model.config.encoder["vocab_size"])
    ids = (torch.arange(windows * length) * 7919 + 3) % size
    return torch.where(ids == model.pad_id, (ids + 1) % size, ids).view(windows, length)


def _mask(windows: int, length: int) -> Tensor:
    """Each window a third shorter than the one before."""
    lengths = torch.tensor([max(1, length * 2**row // 3**row) for row in range(windows)])
    return (torch.arange(length) < lengths[:, None]).long()


@contextlib.contextmanager
def _plain_attention(encoder: Any) -> Iterator[None]:
    """Attention as products and a softmax while a graph is traced."""
    before = encoder.config._attn_implementation
    encoder.set_attn_implementation("eager")
    try:
        yield
    finally:
        encoder.set_attn_implementation(before)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without the remarks of the exporter and the quantiser; errors are raised as ever."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.iterdir())
