"""The network as onnxruntime sessions: vectors in, logits and scores out, chunk by chunk.

B windows, N subwords, F subwords of all windows, H hidden, L eligible lefts, D decided lefts, M rights, C candidates,
T entity types, E spans, P pairs, R relation types, X rows.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iter_lightning.cancellation import cancellable
from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.extraction.onnx.candidates import chunks
from iter_lightning.features.layout import Layout
from iter_lightning.features.lengths import portions, whole_rows

_ENCODED_AT_ONCE = 2048
"""Padded subwords a call of the encoder."""
Decisions = tuple[np.ndarray, np.ndarray]
"""Logits and scores."""


@dataclass(frozen=True)
class Graphs:
    """The sessions of one export.

    Args:
        sessions: by name, see `manifest.GRAPHS`.
        sides: vectors that stand for a span: its last subword (1), or first and last (2).
        left_rows: rows of IsLeft computed at a time.
        pairs: pairs of IsSpan or IsLink computed at a time.
        entities: entities projected at a time; those of one window stay together.
    """

    sessions: dict[str, Any]
    sides: int
    left_rows: int
    pairs: int
    entities: int

    @property
    def engine(self) -> str:
        """What runs the graphs, as `onnxruntime 1.20.0, CPUExecutionProvider`."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}, {', '.join(self.sessions['encoder'].get_providers())}"

    def run(self, name: str, *values: np.ndarray) -> list[np.ndarray]:
        """All outputs of a graph."""
        session = self.sessions[name]
        inputs = [each.name for each in session.get_inputs()]
        outputs: list[np.ndarray] = session.run(None, dict(zip(inputs, values, strict=True)))
        return outputs

    def encode(self, layout: Layout) -> np.ndarray:
        """Hidden states [F, H] of all subwords, window by window."""
        width = layout.mask_BN.shape[1]
        parts = []
        for rows in cancellable(portions([width] * len(layout.mask_BN), _ENCODED_AT_ONCE)):
            mask_BN = layout.mask_BN[rows]
            longest = int(mask_BN.sum(axis=1).max())
            ids_BN, mask_BN = layout.input_ids_BN[rows, :longest], mask_BN[:, :longest]
            (hidden_BNH,) = self.run("encoder", ids_BN, mask_BN.astype(np.int64))
            parts.append(hidden_BNH[mask_BN])
        return np.concatenate(parts) if len(parts) > 1 else parts[0]


@dataclass(frozen=True)
class GraphHeads:
    """Decisions on one batch whose hidden states are given; slots are those of its layout."""

    graphs: Graphs
    hidden_FH: np.ndarray
    row_of_slot_S: np.ndarray
    """Row of `hidden_FH` of each slot that is filled."""

    @classmethod
    def of(cls, graphs: Graphs, layout: Layout) -> GraphHeads:
        """Encode a batch."""
        row_of_slot_S = layout.mask_BN.reshape(-1).cumsum() - 1
        return cls(graphs, graphs.encode(layout), row_of_slot_S)

    def vectors(self, slots: np.ndarray) -> np.ndarray:
        """Hidden states of slots."""
        vectors: np.ndarray = self.hidden_FH[self.row_of_slot_S[slots]]
        return vectors

    def lefts(self, slots_L: np.ndarray) -> Decisions:
        """Eq. 4: logits and probabilities, [L]."""
        parts = [
            self.graphs.run("is_left", self.vectors(slots_L[part]))
            for part in chunks(len(slots_L), self.graphs.left_rows)
        ]
        return _joined(parts, (0,))

    def spans(
        self, left_slots_D: np.ndarray, right_slots_M: np.ndarray, left_row_C: np.ndarray, right_row_C: np.ndarray,
        left_score_D: np.ndarray, types: int,
    ) -> Decisions:  # fmt: skip
        """Eq. 5: logits, and the scores of decided types, zero for others, [C, T].

        Args:
            left_slots_D, right_slots_M: operands.
            left_row_C, right_row_C: of each candidate, from `nearest_lefts`.
            left_score_D: the probability of each left.
            types: T.
        """
        parts = []
        for part in chunks(len(left_row_C), self.graphs.pairs):
            lefts, rights = left_row_C[part], right_row_C[part]
            # operands lie next to each other, as candidates are in the order of the text
            low, first = lefts.min(), rights.min()
            parts.append(self.graphs.run(
                "is_span", self.vectors(left_slots_D[low : lefts.max() + 1]),
                self.vectors(right_slots_M[first : rights.max() + 1]), lefts - low, rights - first,
                left_score_D[lefts],
            ))  # fmt: skip
        return _joined(parts, (0, types))

    def links(
        self, left_slots_E: np.ndarray, right_slots_E: np.ndarray, row_E: np.ndarray, head_P: np.ndarray,
        tail_P: np.ndarray, types: int,
    ) -> Decisions:  # fmt: skip
        """Eq. 6 and 7: logits and probabilities, [P, R], of all `ordered_pairs`; `types` is R (`link_outputs`)."""
        parts: list[list[np.ndarray]] = []
        if not types or not len(head_P):
            return _joined(parts, (0, types))
        for some, pairs in cancellable(whole_rows(np.bincount(row_E).tolist(), self.graphs.entities)):
            vectors = self.vectors(right_slots_E[some])
            if self.graphs.sides == 2:
                vectors = np.concatenate([self.vectors(left_slots_E[some]), vectors], axis=1)
            operands = self.graphs.run("link_operands", vectors)
            heads, tails = head_P[pairs] - some.start, tail_P[pairs] - some.start
            parts += [
                self.graphs.run("is_link", *operands, heads[part], tails[part])
                for part in chunks(len(heads), self.graphs.pairs)
            ]
        return _joined(parts, (0, types))


def _joined(parts: list[list[np.ndarray]], empty: tuple[int, ...]) -> Decisions:
    if not parts:
        return np.zeros(empty, np.float32), np.zeros(empty, np.float32)
    logits, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
    return logits, scores


def open_session(path: Path, threads: int) -> Any:
    """A session on the CPU.

    Raises:
        ConfigError: onnxruntime is missing.
        EncoderError: it cannot run the graph.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError("the onnx backend needs onnxruntime (pip install 'iter-lightning[onnx]')") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # plans memory for a shape that does not come again
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # would take the cores of the next graph
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own have no common class but this
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(f"{path}: onnxruntime {onnxruntime.__version__} cannot run it: {reason}") from error


def default_threads() -> int:
    """`OMP_NUM_THREADS`, as for torch, or the physical cores this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    topology = [Path(f"/sys/devices/system/cpu/cpu{cpu}/topology") for cpu in allowed]
    try:  # threads of one core share its number
        return len({tuple((at / name).read_text() for name in ("physical_package_id", "core_id")) for at in topology})
    except OSError:
        return len(allowed)
