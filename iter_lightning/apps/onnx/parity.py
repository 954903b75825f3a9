"""A model and its export over the same sentences: how far apart they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from iter_lightning.apps.onnx.backend import OnnxBackend, load_graphs
from iter_lightning.apps.onnx.graphs import GraphHeads
from iter_lightning.apps.onnx.manifest import Parity
from iter_lightning.apps.onnx.tracing import size_of
from iter_lightning.features.layout import lay_out
from iter_lightning.features.lengths import Windows, batched_windows
from iter_lightning.model.brackets import span_candidates
from iter_lightning.model.decoding import propose
from iter_lightning.model.iter import IterModel, ModelHeads
from iter_lightning.types import Entity, Example, Prediction, Relation

_TOKENS = 2048
_COUNTED = ("entities", "onnx_entities", "shared_entities", "relations", "onnx_relations", "shared_relations")
SENTENCES = tuple(
    tuple(sentence.split())
    for sentence in (
        "Yes .",
        "Maria Oliveira moved from Porto to Rotterdam in 1987 and joined the harbour police .",
        "The surgeon at St. Brigid 's Hospital , Dr. Amara Okafor , was born in Enugu , Nigeria .",
        "Severe dizziness followed the second dose of lithium carbonate in two of the nine patients .",
        "A graph neural network is trained on sentence pairs to improve paraphrase detection .",
        '" We have no plans to leave Turin , " said Paolo Ricci , who runs the Fabbrica Nuova works .',
        "The suspect , Viktor Hansen , shot Judge Eleanor Pratt outside the courthouse in Duluth , Minnesota .",
        "Expression of the c-fos gene in human T cells requires binding of NF-kappa B to its promoter .",
        "Quito , capital of Ecuador , lies at 2,850 metres ; La Paz , in Bolivia , lies higher still .",
        "Lindqvist & Sons AB of Malmö bought 40 % of Helvetia Tools from the Zürich bank UKB last March .",
    )
)
"""What parity is measured on where the caller gives nothing: news, medicine, abstracts."""


def built_in(max_subwords: int) -> list[tuple[str, ...]]:
    """`SENTENCES`, some of them as one long text that takes several windows, unless those are very long."""
    together = tuple(word for sentence in SENTENCES for word in sentence)
    return [*SENTENCES, together * (1 + min(max_subwords, 512) // len(together))]


def measure(model: IterModel, folder: Path, precision: str, sentences: Iterable[Sequence[str]]) -> Parity:
    """Compare; the model is on the CPU and in `eval()` mode, `folder` holds the graphs."""
    graphs = load_graphs(folder, model.config)
    backend = OnnxBackend(model.config, graphs, model.aligner(), model.pad_id)
    examples = [Example(tuple(sentence)) for sentence in sentences]
    differences = np.zeros(4)
    counts = np.zeros(6, dtype=np.int64)
    for _, windows in batched_windows(backend.aligner, examples, None, _TOKENS):
        logits, predictions = _logits(model, graphs_heads(backend, windows), windows)
        differences[:3] = np.maximum(differences[:3], logits)
        found = backend.decode(windows, model.config.link_threshold)
        for theirs, ours in zip(predictions, found, strict=True):
            differences[3] = max(differences[3], _score_difference(theirs, ours))
            counts += _counts(theirs, ours)
    left, span, link, score = map(float, differences)
    return Parity(
        precision, len(examples), left, span, link, score, **dict(zip(_COUNTED, map(int, counts), strict=True)),
        bytes=size_of(folder),
    )  # fmt: skip


def graphs_heads(backend: OnnxBackend, windows: Windows) -> GraphHeads:
    """The graphs' decisions on a batch."""
    return GraphHeads.of(backend.graphs, lay_out(windows, backend.pad_id, backend.config.respect_word_boundaries))


@torch.no_grad()
def _logits(model: IterModel, ours: GraphHeads, windows: Windows) -> tuple[list[float], list[Prediction]]:
    """The largest differences of logits (lefts, spans, links) where the model decides, and its predictions."""
    batch, schema = model.collate(windows), model.config.schema
    heads = ModelHeads(model, batch, model.encode(batch))
    proposed = propose(batch, heads, model.rules(), schema)
    found = proposed.linked()
    left_logits_L = heads.left_logits()
    is_left_S = torch.zeros(batch.input_ids_BN.numel(), dtype=torch.bool)
    is_left_S[batch.left_slots_L] = left_logits_L > 0
    candidates = span_candidates(
        is_left_S.view_as(batch.input_ids_BN), batch.left_slots_L, batch.right_slots_M, model.config.omega, "valid"
    )
    lefts_D, spans = candidates.left_slots_L.numpy(), found.spans
    pairs = [
        (left_logits_L, ours.lefts(batch.left_slots_L.numpy())),
        (
            heads.span_logits(candidates),
            ours.spans(
                lefts_D, candidates.right_slots_M.numpy(), candidates.left_row_C.numpy(),
                candidates.right_row_C.numpy(), np.ones(len(lefts_D), np.float32), len(schema.entity_types),
            ),
        ),
    ]  # fmt: skip
    if len(found.head_P):
        slots, ends = (spans.left_slot_E, spans.right_slot_E), (found.head_P, found.tail_P)
        theirs = heads.link_logits(*(torch.from_numpy(each) for each in (*slots, *ends)))
        pairs.append((theirs, ours.links(*slots, spans.row_E, *ends, model.config.link_outputs)))
    differences = [float(np.abs(theirs.numpy() - mine).max(initial=0.0)) for theirs, (mine, _) in pairs]
    return [*differences, 0.0][:3], found.predictions()


def _scores(prediction: Prediction) -> dict[Entity | Relation, float]:
    named: tuple[Entity | Relation, ...] = (*prediction.entities, *prediction.relations)
    return dict(zip(named, (*prediction.entity_scores, *prediction.relation_scores), strict=True))


def _score_difference(theirs: Prediction, ours: Prediction) -> float:
    first, second = _scores(theirs), _scores(ours)
    return max((abs(first[key] - second[key]) for key in first.keys() & second.keys()), default=0.0)


def _counts(theirs: Prediction, ours: Prediction) -> list[int]:
    """Entities of the model, of its export and of both; relations alike."""
    found = ((theirs.entities, ours.entities), (theirs.relations, ours.relations))
    return [count for a, b in found for count in (len(a), len(b), len(set(a) & set(b)))]
