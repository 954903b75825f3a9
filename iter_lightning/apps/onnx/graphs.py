"""Sessions of onnxruntime for the encoder and the heads of an exported model.

B windows, N subwords, F subwords of all windows, H hidden, L eligible lefts, D decided lefts, M eligible rights,
C span candidates, T entity types, E spans, P pairs of them, R relation types. A *slot* is `row * N + position`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iter_lightning.apps.onnx.manifest import GRAPHS
from iter_lightning.cancellation import cancellable
from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.features.layout import Layout
from iter_lightning.features.lengths import portions, whole_rows
from iter_lightning.model import pretrained
from iter_lightning.model.config import IterConfig
from iter_lightning.model.encoder_config import config_from_dict

_ENCODED_AT_ONCE = 2048
"""Padded subwords in a call of the encoder."""


@dataclass(frozen=True)
class Graphs:
    """The sessions of one export, and how much each computes at a time.

    Args:
        sessions: sessions by the names of `manifest.GRAPHS`.
        sides: vectors that represent a span: its last subword (1), or its first and last (2).
        left_rows: rows of IsLeft computed at a time.
        pairs: pairs of IsSpan or IsLink computed at a time.
        entities: entities projected at a time; those of one window stay together.
    """

    sessions: dict[str, Any]
    sides: int
    left_rows: int
    pairs: int
    entities: int

    @classmethod
    def load(cls, folder: Path, config: IterConfig, threads: int | None = None) -> Graphs:
        """Open the graphs in a folder, with chunks that keep the configuration's bound on memory.

        Raises:
            ConfigError: onnxruntime is missing, or `threads` is below 1.
            EncoderError: a graph cannot be run.
        """
        if threads is not None and threads < 1:
            raise ConfigError(f"threads must be at least 1, found {threads}")
        names = GRAPHS if config.schema.relation_types else GRAPHS[:3]
        sessions = {name: open_session(folder / f"{name}.onnx", threads or default_threads()) for name in names}
        inner = pretrained.feed_forward_size(config_from_dict(config.encoder))
        left, pair = config.left_width or inner, config.pair_width or 2 * inner
        numbers = config.pair_memory_mb * 2**20 // 4  # of float32
        return cls(
            sessions, sides=1 if config.omega == 1 else 2,
            left_rows=max(16, numbers // (7 * left)),  # a row's inner layers and their copies
            pairs=max(16, numbers // (7 * pair)),
            entities=max(16, numbers // pair),
        )  # fmt: skip

    @property
    def engine(self) -> str:
        """The engine and its provider, such as `onnxruntime 1.20.0, CPUExecutionProvider`."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}, {', '.join(self.sessions['encoder'].get_providers())}"

    def run(self, name: str, *values: np.ndarray) -> list[np.ndarray]:
        """Return all outputs of a graph."""
        session = self.sessions[name]
        inputs = (each.name for each in session.get_inputs())
        outputs: list[np.ndarray] = session.run(None, dict(zip(inputs, values, strict=True)))
        return outputs

    def encode(self, layout: Layout) -> np.ndarray:
        """Return the hidden states [F, H] of all subwords, window by window."""
        width = layout.mask_BN.shape[1]
        parts = []
        for rows in cancellable(portions([width] * len(layout.mask_BN), _ENCODED_AT_ONCE)):
            longest = int(layout.mask_BN[rows].sum(axis=1).max())
            ids_BN, mask_BN = layout.input_ids_BN[rows, :longest], layout.mask_BN[rows, :longest]
            (hidden_BNH,) = self.run("encoder", ids_BN, mask_BN.astype(np.int64))
            parts.append(hidden_BNH[mask_BN])
        return np.concatenate(parts)


class GraphHeads:
    """The decisions on one batch; the numpy counterpart of `model.decoding.Heads`."""

    def __init__(self, graphs: Graphs, layout: Layout) -> None:
        self.graphs = graphs
        self._hidden_FH = graphs.encode(layout)
        self._row_of_slot_S = layout.mask_BN.reshape(-1).cumsum() - 1

    def _vectors(self, slots: np.ndarray) -> np.ndarray:
        vectors: np.ndarray = self._hidden_FH[self._row_of_slot_S[slots]]
        return vectors

    def lefts(self, slots_L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and probabilities of lefts (Eq. 4), [L] each."""
        parts = [
            self.graphs.run("is_left", self._vectors(slots_L[part]))
            for part in _chunks(len(slots_L), self.graphs.left_rows)
        ]
        return _joined([logits for logits, _ in parts], 0), _joined([scores for _, scores in parts], 0)

    def spans(
        self, left_slots_D: np.ndarray, right_slots_M: np.ndarray, left_row_C: np.ndarray, right_row_C: np.ndarray,
        left_score_D: np.ndarray, types: int,
    ) -> np.ndarray:  # fmt: skip
        """Return the scores of span candidates (Eq. 5), [C, T]: zero for types that were not decided.

        Args:
            left_slots_D: slots of the lefts.
            right_slots_M: slots of the rights.
            left_row_C: row of `left_slots_D` of each candidate; see `nearest_lefts`.
            right_row_C: row of `right_slots_M` of each candidate.
            left_score_D: probability of each left.
            types: the number T.
        """
        parts = []
        for part in _chunks(len(left_row_C), self.graphs.pairs):
            lefts, rights = left_row_C[part], right_row_C[part]
            # the operands of consecutive candidates lie next to each other, since candidates follow the text
            low, first = lefts.min(), rights.min()
            parts.append(self.graphs.run(
                "is_span", self._vectors(left_slots_D[low : lefts.max() + 1]),
                self._vectors(right_slots_M[first : rights.max() + 1]), lefts - low, rights - first,
                left_score_D[lefts],
            )[1])  # fmt: skip
        return _joined(parts, 0, types)

    def links(
        self, left_slots_E: np.ndarray, right_slots_E: np.ndarray, row_E: np.ndarray, head_P: np.ndarray,
        tail_P: np.ndarray, types: int,
    ) -> np.ndarray:  # fmt: skip
        """Return the probabilities of links (Eq. 6 and 7), [P, R].

        Args:
            left_slots_E: slot of the first subword of each span.
            right_slots_E: slot of the last subword of each span.
            row_E: row of each span, ascending.
            head_P: head of each of the `ordered_pairs`.
            tail_P: tail of each pair.
            types: the number R of outputs; see `IterConfig.link_outputs`.
        """
        parts = []
        for some, pairs in cancellable(whole_rows(np.bincount(row_E).tolist(), self.graphs.entities) if types else ()):
            vectors = self._vectors(right_slots_E[some])
            if self.graphs.sides == 2:
                vectors = np.concatenate([self._vectors(left_slots_E[some]), vectors], axis=1)
            operands = self.graphs.run("link_operands", vectors)
            heads, tails = head_P[pairs] - some.start, tail_P[pairs] - some.start
            parts += [
                self.graphs.run("is_link", *operands, heads[part], tails[part])[1]
                for part in _chunks(len(heads), self.graphs.pairs)
            ]
        return _joined(parts, 0, types)


def nearest_lefts(
    left_slots_D: np.ndarray, right_slots_M: np.ndarray, length: int, omega: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pair each right with its `omega` closest lefts of the same row, nearest first.

    `model.brackets.span_candidates` does the same in torch, without waiting for a GPU.

    Args:
        left_slots_D: slots of the lefts, ascending.
        right_slots_M: slots of the rights, ascending.
        length: the padded length N.
        omega: the number of lefts.

    Returns:
        left_row_C and right_row_C, the rows of `left_slots_D` and `right_slots_M` of each pair.
    """
    first_M = np.searchsorted(left_slots_D, right_slots_M - right_slots_M % length)
    nearest_M = np.searchsorted(left_slots_D, right_slots_M, side="right") - 1
    left_row_MW = nearest_M[:, None] - np.arange(omega)
    valid_MW = left_row_MW >= first_M[:, None]
    return left_row_MW[valid_MW], np.nonzero(valid_MW)[0]


def ordered_pairs(row_E: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return head_P and tail_P of all ordered pairs of spans in a row; the torch form is in `model.brackets`."""
    width_E = np.bincount(row_E)[row_E]
    head_P = np.arange(len(row_E)).repeat(width_E)
    first_pair_E = width_E.cumsum() - width_E
    return head_P, np.arange(len(head_P)) - first_pair_E[head_P] + np.searchsorted(row_E, row_E)[head_P]


def _chunks(total: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, total, size))


def _joined(parts: list[np.ndarray], *empty: int) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(empty, np.float32)


def open_session(path: Path, threads: int) -> Any:
    """Open a graph on the CPU.

    Raises:
        ConfigError: onnxruntime is missing.
        EncoderError: onnxruntime cannot run the graph.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError("the onnx backend requires onnxruntime (pip install 'iter-lightning[onnx]')") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # it plans memory for one shape, and shapes vary
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to the next graph
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # errors of onnxruntime have no other common class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(f"{path}: onnxruntime {onnxruntime.__version__} cannot run it: {reason}") from error


def default_threads() -> int:
    """Return `OMP_NUM_THREADS`, as torch does, or the number of physical cores that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    topology = [Path(f"/sys/devices/system/cpu/cpu{cpu}/topology") for cpu in allowed]
    try:  # the threads of one core have the same numbers
        return len({tuple((at / name).read_text() for name in ("physical_package_id", "core_id")) for at in topology})
    except OSError:
        return len(allowed)
