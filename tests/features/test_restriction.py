"""The gold annotation of a batch, restricted to some types."""

from __future__ import annotations

import random

import pytest
import torch

from iter_lightning.features.restriction import restrict
from iter_lightning.types import LabelSet
from tests.builders import SCHEMA, random_example, tiny_model


@pytest.mark.parametrize("seed", range(10))
def test_restrict_equals_encoding_restricted_examples(seed: int) -> None:
    from dataclasses import replace

    rng = random.Random(seed)
    model = tiny_model(omega=8)
    examples = [random_example(rng) for _ in range(4)]
    kinds = rng.sample(range(3), rng.randint(1, 3))
    links = rng.sample(range(4), rng.randint(0, 4))
    names = {SCHEMA.entity_types[k] for k in kinds}, {SCHEMA.relation_types[k] for k in links}
    fewer = [
        replace(
            example,
            entities=tuple(e for e in example.entities if e.type in names[0]),
            relations=tuple(
                r for r in example.relations
                if r.type in names[1] and r.head.type in names[0] and r.tail.type in names[0]
            ),
        )
        for example in examples
    ]  # fmt: skip

    def gold(batch: object, kinds: list[int], links: list[int]) -> tuple[set[object], set[object], set[int]]:
        spans = batch.gold_spans_S3.tolist()  # type: ignore[attr-defined]
        types = {(*spans[s], kinds[t]) for s, t in batch.gold_types_T2.tolist()}  # type: ignore[attr-defined]
        linked = {
            (*spans[h], *spans[t], links[k]) for h, t, k in batch.gold_links_K3.tolist()  # type: ignore[attr-defined]
        }  # fmt: skip
        return types, linked, set(batch.gold_left_slots_G.tolist())  # type: ignore[attr-defined]

    aligner = model.aligner()
    batches = [model.collate([(e, 0) for e in aligner.encode(given)]) for given in (examples, fewer)]
    labels = LabelSet(("a",) * len(kinds), ("b",) * len(links))
    found = restrict(batches[0], kinds, links, labels)
    assert found.labels is labels
    assert torch.equal(found.input_ids_BN, batches[0].input_ids_BN)
    assert gold(found, kinds, links) == gold(batches[1], list(range(3)), list(range(4)))
