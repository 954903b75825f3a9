"""`OnnxBackend`: inference with exported graphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from iter_lightning.apps.onnx.graphs import GraphHeads, Graphs, nearest_lefts, ordered_pairs
from iter_lightning.apps.onnx.manifest import FOLDER, Manifest
from iter_lightning.cancellation import cancellable
from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.extraction.labels import Labels
from iter_lightning.features.alignment import Aligner
from iter_lightning.features.layout import lay_out
from iter_lightning.features.lengths import POOL, Windows, batched_windows, pools
from iter_lightning.model import pretrained
from iter_lightning.model.config import IterConfig
from iter_lightning.model.conversion import found_spans, kept_in_whole_examples, most_probable, predictions
from iter_lightning.model.encoder_config import reason
from iter_lightning.types import NO_LIMITS, Example, Prediction, Schema, WindowLimits


@dataclass(frozen=True)
class OnnxBackend:
    """Exported graphs as a backend of `Extractor`. Torch is not needed; decisions become predictions as with torch.

    Args:
        config: the model's configuration.
        graphs: sessions of onnxruntime.
        aligner: the model's aligner, with its tokenizer.
        pad_id: id of the padding token.
        precision: precision of the graphs, `fp32` or `int8`.

    Example:
        >>> backend = OnnxBackend.from_pretrained("exported/mine", threads=4)  # doctest: +SKIP
        >>> extractor = Extractor(backend, Splitter("en"))  # doctest: +SKIP
    """

    config: IterConfig
    graphs: Graphs
    aligner: Aligner
    pad_id: int
    precision: str = "fp32"
    limits: WindowLimits = NO_LIMITS

    @classmethod
    def from_pretrained(cls, folder: str | Path, threads: int | None = None) -> OnnxBackend:
        """Load an exported model: config.json, the tokenizer and `onnx/`. The weights are not needed.

        Args:
            folder: the model's folder.
            threads: threads of each operation; None takes OMP_NUM_THREADS, or the number of physical cores.

        Raises:
            ConfigError: onnxruntime is missing, or `threads` is below 1.
            EncoderError: a file is missing, damaged, or belongs to another model.
        """
        source = Path(folder)
        manifest = Manifest.read(source / FOLDER)
        config = pretrained.read_config(source)
        manifest.check(source / FOLDER, config)
        if not (source / "tokenizer_config.json").is_file():
            raise EncoderError(f"no tokenizer in {source}: {source / 'tokenizer_config.json'} is missing")
        tokenizer = pretrained.load_tokenizer(str(source))
        aligner = pretrained.check_tokenizer(tokenizer, config, pretrained.longest_window(config), source)
        graphs = Graphs.load(source / FOLDER, config, threads)
        backend = cls(config, graphs, aligner, pretrained.padding_id(tokenizer), manifest.precision)
        try:
            list(backend.predict([Example(pretrained.PROBE)], 1.0, 1024))
        except Exception as error:  # errors of onnxruntime have no other common class
            raise EncoderError(f"{source / FOLDER}: the graphs cannot read text: {reason(error)}") from error
        return backend

    @property
    def schema(self) -> Schema:
        """The model's types."""
        return self.config.schema

    @property
    def link_threshold(self) -> float:
        """The model's own lambda."""
        return self.config.link_threshold

    @property
    def open(self) -> bool:
        """Whether the types can be chosen, which is false: the graphs contain them."""
        return False

    def bind(self, labels: Labels) -> OnnxBackend:
        """Raise an error, since the graphs contain the types.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("the labels of an exported model are fixed; export it with --labels")

    @property
    def kernels(self) -> str:
        """The engine and the precision, for reports."""
        return f"{self.graphs.engine}: {self.precision} graphs"

    def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
        """Return one prediction per example, in order; see `extractor.Backend`.

        Args:
            examples: read in pools of `POOL` examples, each sorted by length.
            link_threshold: lambda.
            max_tokens: padded subwords per batch.

        Raises:
            ConfigError: `max_tokens` is below 1.
        """
        if max_tokens < 1:
            raise ConfigError(f"max_tokens must be at least 1, found {max_tokens}")
        return (found for pool in pools(examples, POOL) for found in self._predict(pool, link_threshold, max_tokens))

    def _predict(self, pool: list[Example], link_threshold: float, max_tokens: int) -> list[Prediction]:
        found: dict[int, Prediction] = {}
        for places, windows in cancellable(batched_windows(self.aligner, pool, None, max_tokens)):
            found.update(zip(places, self._decode(windows, link_threshold), strict=True))
        return [found[place] for place in range(len(found))]

    def _decode(self, windows: Windows, link_threshold: float) -> list[Prediction]:
        """Return one prediction per example of a batch; the steps are those of `model.decoding.propose`."""
        config = self.config
        layout = lay_out(windows, self.pad_id, config.respect_word_boundaries)
        heads, length = GraphHeads(self.graphs, layout), layout.mask_BN.shape[1]

        # Decide on lefts, and pair every eligible right with its closest ones.
        logits_L, left_score_L = heads.lefts(layout.left_slots_L)
        left_slots_D, left_score_D = layout.left_slots_L[logits_L > 0], left_score_L[logits_L > 0]
        rights_M = layout.right_slots_M
        left_row_C, right_row_C = nearest_lefts(left_slots_D, rights_M, length, config.omega)

        # Decide on the types of the candidates.
        scores_CT = heads.spans(
            left_slots_D, rights_M, left_row_C, right_row_C, left_score_D, len(config.schema.entity_types)
        )
        spans = found_spans(left_slots_D[left_row_C], rights_M[right_row_C], scores_CT, length)
        if config.flat:
            spans = spans.keep(kept_in_whole_examples(windows, spans))
        spans, truncated_rows = most_probable(spans, self.limits.entities)

        # Score the links between all spans of a window.
        head_P, tail_P = ordered_pairs(spans.row_E)
        links_PR = heads.links(spans.left_slot_E, spans.right_slot_E, spans.row_E, head_P, tail_P, config.link_outputs)
        return predictions(
            windows, layout.word_BN, spans, head_P, tail_P, links_PR, config, link_threshold, self.limits,
            truncated_rows,
        )  # fmt: skip
