"""`OnnxBackend`: an exported model, run by onnxruntime; torch is not needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from iter_lightning.cancellation import cancellable
from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.extraction.onnx.candidates import nearest_lefts, ordered_pairs
from iter_lightning.extraction.onnx.graphs import GraphHeads, Graphs, default_threads, open_session
from iter_lightning.extraction.onnx.manifest import FOLDER, GRAPHS, Manifest
from iter_lightning.features.alignment import Aligner
from iter_lightning.features.layout import lay_out
from iter_lightning.features.lengths import POOL, Windows, batched_windows, pools
from iter_lightning.model import pretrained
from iter_lightning.model.config import IterConfig
from iter_lightning.model.conversion import found_spans, kept_in_whole_examples, most_probable, predictions
from iter_lightning.model.encoder_config import config_from_dict, reason
from iter_lightning.types import NO_LIMITS, Example, Prediction, Schema, WindowLimits


@dataclass(frozen=True)
class OnnxBackend:
    """What an `IterModel` finds, from its exported graphs; see `extractor.Backend`.

    Args:
        config: the model's.
        graphs: sessions of onnxruntime.
        aligner: the model's, with its tokenizer.
        pad_id: the token that fills.
        precision: of the graphs, `fp32` or `int8`.
    """

    config: IterConfig
    graphs: Graphs
    aligner: Aligner
    pad_id: int
    precision: str = "fp32"
    limits: WindowLimits = NO_LIMITS

    @classmethod
    def from_pretrained(cls, folder: str | Path, threads: int | None = None) -> OnnxBackend:
        """Load what `export_onnx` wrote: config.json, the tokenizer and `onnx/`.

        Args:
            folder: the model's.
            threads: of each product; None is OMP_NUM_THREADS, or the physical cores.

        Raises:
            ConfigError: onnxruntime is missing, or `threads` below one.
            EncoderError: a file that is missing, damaged or of another model.
        """
        source = Path(folder)
        manifest = Manifest.read(source / FOLDER)
        config = pretrained.read_config(source)
        manifest.check(source / FOLDER, config)
        if not (source / "tokenizer_config.json").is_file():
            raise EncoderError(f"no tokenizer in {source}: {source / 'tokenizer_config.json'} is missing")
        tokenizer = pretrained.load_tokenizer(str(source))
        aligner = pretrained.check_tokenizer(tokenizer, config, pretrained.longest_window(config), source)
        graphs = load_graphs(source / FOLDER, config, threads)
        backend = cls(config, graphs, aligner, pretrained.padding_id(tokenizer), manifest.precision)
        return backend._tried_out(source)

    def _tried_out(self, source: Path) -> OnnxBackend:
        """Return this backend after it has read a few words.

        Raises:
            EncoderError: the graphs cannot.
        """
        try:
            list(self.predict([Example(pretrained.PROBE)], 1.0, 1024))
        except Exception as error:  # onnxruntime's own have no common class but this
            raise EncoderError(f"{source / FOLDER}: the graphs cannot read text: {reason(error)}") from error
        return self

    @property
    def schema(self) -> Schema:
        """The model's."""
        return self.config.schema

    @property
    def link_threshold(self) -> float:
        """The model's own lambda."""
        return self.config.link_threshold

    @property
    def kernels(self) -> str:
        """See `extractor.Backend`."""
        return f"{self.graphs.engine}: {self.precision} graphs"

    def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
        """See `Backend`; holds `POOL` examples at a time, sorted by length inside it."""
        if max_tokens < 1:
            raise ConfigError(f"max_tokens must be at least 1, found {max_tokens}")
        return (
            found
            for pool in pools(examples, POOL)
            for found in self._pool_predictions(pool, link_threshold, max_tokens)
        )

    def _pool_predictions(self, pool: list[Example], link_threshold: float, max_tokens: int) -> list[Prediction]:
        found: dict[int, Prediction] = {}
        for places, windows in cancellable(batched_windows(self.aligner, pool, None, max_tokens)):
            found.update(zip(places, self.decode(windows, link_threshold), strict=True))
        return [found[place] for place in range(len(found))]

    def decode(self, windows: Windows, link_threshold: float) -> list[Prediction]:
        """One prediction for each example of a batch of windows; see `model.decoding.propose`."""
        config, schema = self.config, self.config.schema
        layout = lay_out(windows, self.pad_id, config.respect_word_boundaries)
        heads, length = GraphHeads.of(self.graphs, layout), layout.mask_BN.shape[1]
        logits_L, left_score_L = heads.lefts(layout.left_slots_L)
        left_slots_D, left_score_D = layout.left_slots_L[logits_L > 0], left_score_L[logits_L > 0]
        rights_M = layout.right_slots_M
        left_row_C, right_row_C = nearest_lefts(left_slots_D, rights_M, length, config.omega)
        _, scores_CT = heads.spans(
            left_slots_D, rights_M, left_row_C, right_row_C, left_score_D, len(schema.entity_types)
        )  # fmt: skip
        spans = found_spans(left_slots_D[left_row_C], rights_M[right_row_C], scores_CT, length)
        if config.flat:
            spans = spans.keep(kept_in_whole_examples(windows, spans))
        spans, truncated_rows = most_probable(spans, self.limits.entities)
        head_P, tail_P = ordered_pairs(spans.row_E)
        _, links_PR = heads.links(
            spans.left_slot_E, spans.right_slot_E, spans.row_E, head_P, tail_P, config.link_outputs
        )  # fmt: skip
        rules = config.rules(link_threshold)
        return predictions(
            windows, layout.word_BN, spans, head_P, tail_P, links_PR, rules, schema, self.limits, truncated_rows
        )


def load_graphs(folder: Path, config: IterConfig, threads: int | None = None) -> Graphs:
    """Sessions of the graphs in `folder`, with chunks inside the configuration's bound on memory.

    Raises:
        ConfigError: onnxruntime is missing, or `threads` below one.
        EncoderError: a graph that cannot be run.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1, found {threads}")
    names = GRAPHS if config.schema.relation_types else GRAPHS[:3]
    sessions = {name: open_session(folder / f"{name}.onnx", threads or default_threads()) for name in names}
    inner = pretrained.feed_forward_size(config_from_dict(config.encoder))
    left, pair = config.left_width or inner, config.pair_width or 2 * inner
    memory = config.pair_memory_mb * 2**20
    return Graphs(
        sessions, sides=1 if config.omega == 1 else 2,
        left_rows=max(16, memory // (7 * left * 4)),  # of float32; a row's inner layers and their copies
        pairs=max(16, memory // (7 * pair * 4)),
        entities=max(16, memory // (4 * pair * 4)),
    )  # fmt: skip
