"""Gold in, gold out; and random logits against a loop decoder written from Eq. 5 to 7."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.corpora.checks import overlapping_pairs
from iter_lightning.features import Batch, EncodedExample
from iter_lightning.model import decoding
from iter_lightning.model.config import IterConfig, TypeDecision
from iter_lightning.model.conversion import resolve_overlaps
from iter_lightning.model.decoding import (
    Heads,
    decide_types,
    decode,
    type_probabilities,
)
from iter_lightning.types import Entity, Example, Prediction, Relation, Schema
from tests.builders import (
    COMMON,
    SCHEMA,
    TOKENIZERS,
    NoiseHeads,
    OracleHeads,
    batch_of,
    build_example,
    encode,
    examples,
    expected_relations,
    lost_by_omega,
    odd_words,
    random_example,
    tiny_model,
)


def decoding_config(
    omega: int, type_decision: TypeDecision, link_threshold: float, schema: Schema = SCHEMA, **options: bool
) -> IterConfig:
    """Return a configuration for decoding alone."""
    return IterConfig(
        schema,
        {},
        omega,
        type_decision=type_decision,
        link_threshold=link_threshold,
        **options,  # type: ignore[arg-type]
    )


ALL_4 = decoding_config(4, "all", 0.5)


def assert_same(mine: Prediction, theirs: Prediction, tolerance: float = 1e-6) -> None:
    assert mine.entities == theirs.entities
    assert mine.relations == theirs.relations
    assert mine.entity_scores == pytest.approx(theirs.entity_scores, abs=tolerance)
    assert mine.relation_scores == pytest.approx(theirs.relation_scores, abs=tolerance)


def assert_gold(prediction: Prediction, gold: Example, schema: Schema = SCHEMA) -> None:
    assert prediction.entities == tuple(sorted(set(gold.entities)))
    assert prediction.relations == tuple(sorted(expected_relations(gold, schema)))
    assert all(score > 0.99 for score in prediction.entity_scores + prediction.relation_scores)


# gold in, gold out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
@given(st.lists(examples(words=odd_words()), min_size=1, max_size=4), st.integers(1, 4), st.booleans())
def test_gold_comes_back(kind: str, gold: list[Example], omega: int, respect: bool) -> None:
    encoded = encode(gold, omega, 2000, kind=kind)
    batch = batch_of(encoded, respect_word_boundaries=respect)
    predictions = decode(batch, OracleHeads(batch), decoding_config(omega, "argmax", 0.5))
    assert len(predictions) == len(gold)
    for prediction, one, example in zip(predictions, encoded, gold, strict=True):
        assert_gold(prediction, one.encoded_gold())
        if not lost_by_omega(example, omega):
            assert_gold(prediction, example)


@given(examples(one_type_a_span=False), st.integers(1, 4))
def test_several_types_a_span_come_back_under_all(gold: Example, omega: int) -> None:
    (encoded,) = encode([gold], omega)
    batch = batch_of([encoded])
    for type_decision in ("all", "argmax"):
        (prediction,) = decode(batch, OracleHeads(batch), decoding_config(omega, type_decision, 0.5))
        expected = encoded.encoded_gold()
        if type_decision == "all":
            assert set(prediction.entities) == set(expected.entities)
            assert set(prediction.relations) == expected_relations(expected)
        else:
            assert set(prediction.entities) <= set(expected.entities)
            assert {e.span for e in prediction.entities} == {e.span for e in expected.entities}
            assert len({e.span for e in prediction.entities}) == len(prediction.entities)


def test_every_kind_of_relation_at_once() -> None:
    gold = build_example(
        ("the", "Bank", "of", "London", "and", "Ada"),
        [(0, 4, "Org"), (3, 4, "Loc"), (5, 6, "Per")],
        [(2, 0, "WorkFor"), (2, 0, "LiveIn"), (0, 2, "LiveIn"), (1, 0, "Near"), (2, 2, "Kin"), (1, 1, "LiveIn")],
    )
    batch = batch_of(encode([gold], 2))
    (prediction,) = decode(batch, OracleHeads(batch), decoding_config(2, "argmax", 0.5))
    assert_gold(prediction, gold)
    near = [r for r in prediction.relations if r.type == "Near"]
    assert near == [Relation(Entity(0, 4, "Org"), Entity(3, 4, "Loc"), "Near")]  # once, the direction that sorts first


@pytest.mark.parametrize("omega", [1, 2, 4])
@given(st.integers(0, 2**32))
def test_gold_comes_back_through_windows(omega: int, seed: int) -> None:
    rng = random.Random(seed)
    gold = [
        random_example(rng, words=rng.randint(0, 45), entities=12, relations=30, longest=5, id=str(i)) for i in range(3)
    ]
    encoded = encode(gold, omega, rng.randint(10, 24), rng.randint(0, 4))
    batch = batch_of(encoded)
    predictions = decode(batch, OracleHeads(batch), decoding_config(omega, "argmax", 0.5))
    for prediction, one in zip(predictions, encoded, strict=True):
        assert_gold(prediction, one.encoded_gold())


def test_arguments_seen_together_in_one_window_alone() -> None:
    gold = build_example(
        ["a"] * 20, [(2, 3, "Per"), (7, 8, "Loc"), (12, 13, "Org"), (19, 20, "Per")],
        [(0, 1, "LiveIn"), (1, 2, "Near"), (0, 3, "Kin")],
    )  # fmt: skip
    (encoded,) = encode([gold], 1, max_subwords=12, overlap=5)  # [0, 10), [5, 15), [10, 20)
    assert [(w.first_word, w.last_word) for w in encoded.windows] == [(0, 10), (5, 15), (10, 20)]
    assert [len(w.links) for w in encoded.windows] == [1, 2, 0]
    assert encoded.lost_relations == gold.relations[2:]
    batch = batch_of([encoded])
    (prediction,) = decode(batch, OracleHeads(batch), decoding_config(1, "argmax", 0.5))
    assert prediction.entities == gold.entities
    assert set(prediction.relations) == set(gold.relations[:2])


@pytest.mark.parametrize("window", [0, 1])
def test_the_owner_of_a_pair_decides_on_it(window: int) -> None:
    """Both windows hold the pair; the second has the wider margin, and what the first thinks does not count."""
    gold = build_example(["a"] * 20, [(8, 9, "Per"), (9, 10, "Loc")])
    (encoded,) = encode([gold], 1, max_subwords=12, overlap=5)  # [0, 10), [5, 15), [10, 20)
    batch = batch_of([encoded])

    class OneWindow(OracleHeads):
        def link_logits(self, *arguments: torch.Tensor) -> torch.Tensor:
            left_slots_E, _, head_P, _ = arguments
            here = left_slots_E[head_P] // self.batch.input_ids_BN.shape[1] == window
            return torch.where(here, 10.0, -10.0).unsqueeze(1).expand(-1, len(self.schema.relation_types))

    (prediction,) = decode(batch, OneWindow(batch), decoding_config(1, "argmax", 0.5))
    assert prediction.entities == gold.entities
    assert bool(prediction.relations) == (window == 1)


def test_no_text_no_entities() -> None:
    batch = batch_of(encode([Example(()), Example(("",))], 2))
    assert decode(batch, OracleHeads(batch), ALL_4) == [Prediction(), Prediction()]


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
@given(st.lists(examples(words=odd_words()), min_size=1, max_size=4), st.integers(1, 4), st.integers(16, 40))
def test_gold_comes_back_without_self_links(kind: str, gold: list[Example], omega: int, longest: int) -> None:
    """What the encoding calls lost is what decoding cannot find: self-links, and nothing else that could be."""
    config = decoding_config(omega, "argmax", 0.5, self_links=False)
    encoded = encode(gold, omega, longest, kind=kind, self_links=False)
    batch = batch_of(encoded)
    for prediction, one in zip(decode(batch, OracleHeads(batch), config), encoded, strict=True):
        assert_gold(prediction, one.encoded_gold())
    whole = encode(gold, omega, longest, kind=kind)
    for one, both in zip(encoded, whole, strict=True):
        itself = {r for r in one.example.relations if r.head.span == r.tail.span}
        assert set(one.lost_relations) == set(both.lost_relations) | itself
    batch = batch_of(whole)
    for prediction, one in zip(decode(batch, OracleHeads(batch), config), whole, strict=True):
        expected = {r for r in expected_relations(one.encoded_gold()) if r.head.span != r.tail.span}
        assert set(prediction.relations) == expected


def test_without_self_links_two_spans_of_subwords_in_one_word_are_one_entity() -> None:
    found = {True: 0, False: 0}
    for seed in range(20):
        encoded = encode([Example(("Ulan-Bator", "and", "Saint-Denis"), id=str(seed))])
        batch = batch_of(encoded, respect_word_boundaries=False)
        for self_links in found:
            config = decoding_config(3, "all", 0.1, self_links=self_links)
            (prediction,) = decode(batch, NoiseHeads(batch), config)
            found[self_links] += sum(r.head.span == r.tail.span for r in prediction.relations)
    assert found[True] > 50
    assert found[False] == 0


# against a loop decoder ----------------------------------------------------------------------------------------------


def loop_decode(encoded: EncodedExample, heads: NoiseHeads, config: IterConfig) -> Prediction:
    """Eq. 4 to 7 for one window, one decision at a time."""
    window = encoded.windows[0]
    word = [*window.word_of_subword, -1]

    def ask(places: list[int], outputs: int) -> list[float]:
        answer: list[float] = heads.noise([torch.tensor([place]) for place in places], outputs)[0].tolist()
        return answer

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    left_logit = {n: ask([n], 1)[0] for n in range(len(window)) if word[n] >= 0 and (n == 0 or word[n - 1] != word[n])}
    lefts = [n for n, logit in left_logit.items() if logit > 0]
    entities: dict[Entity, float] = {}
    types_of: dict[tuple[int, int], list[str]] = {}
    for m in range(len(window)):
        if word[m] < 0 or word[m + 1] == word[m]:
            continue
        closest: list[int] = []
        for _ in range(config.omega):
            rest = [j for j in lefts if j <= m and j not in closest]
            closest += [max(rest)] if rest else []
        for n in closest:
            logits = ask([n, m], len(config.schema.entity_types))
            types = [t for t, logit in enumerate(logits) if logit > 0]
            total = 1 + sum(math.exp(logit) for logit in logits)
            if config.type_decision == "argmax":
                types = [t for t in types if logits[t] == max(logits)]
            elif config.type_decision == "sum":
                types = [logits.index(max(logits))] if total - 1 > 1 else []
            for t in types:
                types_of.setdefault((n, m), []).append(config.schema.entity_types[t])
                entity = Entity(word[n], word[m] + 1, config.schema.entity_types[t])
                entities[entity] = sigmoid(left_logit[n]) * math.exp(logits[t]) / total
    if config.flat:
        best = {span: max(entities[Entity(word[span[0]], word[span[1]] + 1, name)] for name in names)
                for span, names in types_of.items()}  # fmt: skip
        chosen: list[tuple[int, int]] = []
        for n, m in sorted(types_of, key=lambda span: -best[span]):
            if all(m < other[0] or other[1] < n for other in chosen):
                chosen.append((n, m))
        types_of = {span: names for span, names in types_of.items() if span in chosen}
        kept = {(word[n], word[m] + 1) for n, m in chosen}
        entities = {entity: score for entity, score in entities.items() if entity.span in kept}
    relations: dict[Relation, float] = {}
    columns = len(config.schema.relation_types)

    @functools.cache
    def link(head: tuple[int, int], tail: tuple[int, int]) -> list[float]:
        return [sigmoid(x) for x in ask([*head, *tail], columns * (1 + config.inverse_links))]

    def either(head: tuple[int, int], tail: tuple[int, int], r: int) -> float:
        return max(link(head, tail)[r], link(tail, head)[columns + r] if config.inverse_links else 0.0)

    for head in types_of:
        for tail in types_of:
            if head == tail and not config.self_links:
                continue
            for r, name in enumerate(config.schema.relation_types):
                score = either(head, tail, r)
                if name in config.schema.symmetric:
                    score = (score + either(tail, head, r)) / 2
                if score > config.link_threshold:
                    for first in types_of[head]:
                        for second in types_of[tail]:
                            ends = (Entity(word[head[0]], word[head[1]] + 1, first),
                                    Entity(word[tail[0]], word[tail[1]] + 1, second))  # fmt: skip
                            relations[config.schema.canonical(Relation(*ends, name))] = score
    found, linked = sorted(entities), sorted(relations)
    return Prediction(
        tuple(found), tuple(linked), tuple(entities[e] for e in found), tuple(relations[r] for r in linked)
    )


class NoiseInBothReadings(NoiseHeads):
    """With inverse links: a second column for each relation type."""

    def link_logits(self, left_slots_E: torch.Tensor, right_slots_E: torch.Tensor, head_P: torch.Tensor,
                    tail_P: torch.Tensor) -> torch.Tensor:  # fmt: skip
        sides = [left_slots_E[head_P], right_slots_E[head_P], left_slots_E[tail_P], right_slots_E[tail_P]]
        return self.noise(sides, 2 * len(self.schema.relation_types))


def noisy_batch(seed: int, words: int = 7) -> tuple[list[EncodedExample], Batch]:
    rng = random.Random(seed)
    lengths = [rng.randint(0, words) for _ in range(4)]
    gold = [Example(tuple(rng.choices((*COMMON, "Ulan-Bator", ""), k=n)), id=f"{seed}/{i}")
            for i, n in enumerate(lengths)]  # fmt: skip
    encoded = encode(gold)
    return encoded, batch_of(encoded)


@pytest.mark.parametrize("omega", [1, 2, 3, 4])
@pytest.mark.parametrize("type_decision", ["argmax", "all", "sum"])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("inverse_links", [False, True])
def test_decode_is_the_loop_decoder(omega: int, type_decision: str, flat: bool, inverse_links: bool) -> None:
    found = 0
    noise = NoiseInBothReadings if inverse_links else NoiseHeads
    for seed in range(6):
        threshold = random.Random(seed).choice([0.3, 0.5, 0.8])
        config = decoding_config(
            omega, type_decision, threshold, flat=flat, inverse_links=inverse_links, self_links=seed % 2 == 0
        )
        encoded, batch = noisy_batch(seed)
        predictions = decode(batch, noise(batch, bias=-1.0), config)
        for prediction, one in zip(predictions, encoded, strict=True):
            alone = batch_of([one])
            assert_same(prediction, loop_decode(one, noise(alone, bias=-1.0), config))
            assert_same(prediction, decode(alone, noise(alone, bias=-1.0), config)[0])
            found += len(prediction.relations)
            assert all(0 <= score <= 1 for score in prediction.entity_scores + prediction.relation_scores)
            assert all(entity.end <= len(one.example.words) for entity in prediction.entities)
            assert not flat or not overlapping_pairs(prediction.entities)
    assert found > (15 if flat else 100)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4), st.integers(0, 9)), max_size=14))
def test_resolved_overlaps(found: list[tuple[int, int, int]]) -> None:
    """What stays does not overlap, what goes overlaps something more probable that stays, and time has no say in it."""
    spans = sorted({(first, first + longer): score / 10 for first, longer, score in found}.items())
    firsts, lasts, scores = (np.array(x) for x in ([f for (f, _), _ in spans], [last for (_, last), _ in spans],
                                                   [score for _, score in spans]))  # fmt: skip
    kept = resolve_overlaps(firsts, lasts, scores)

    def overlap(i: int, j: int) -> bool:
        return bool(firsts[i] <= lasts[j] and firsts[j] <= lasts[i])

    for i in range(len(spans)):
        winners = [j for j in range(len(spans)) if j != i and kept[j] and overlap(i, j)]
        assert not (kept[i] and winners)
        assert kept[i] or any(scores[j] >= scores[i] for j in winners)


def test_entities_of_different_windows_do_not_overlap_in_a_flat_corpus() -> None:
    config = decoding_config(2, "argmax", 0.3, flat=True)
    clashes = relations = 0
    for seed in range(12):
        encoded = encode([random_example(random.Random(seed), words=40, id=str(seed))], 2, 16, 6)
        batch = batch_of(encoded)
        heads = NoiseHeads(batch, bias=-1.0)
        (prediction,) = decode(batch, heads, config)
        (loose,) = decode(batch, heads, decoding_config(2, "argmax", 0.3))
        assert not overlapping_pairs(prediction.entities)
        # decided once over the whole example: no window removes its own span for one that another window owns
        scores = dict(zip(loose.entities, loose.entity_scores, strict=True))
        spans = sorted({e.span for e in loose.entities})
        best = [max(score for e, score in scores.items() if e.span == span) for span in spans]
        ends = np.array(spans)
        kept = resolve_overlaps(ends[:, 0], ends[:, 1] - 1, np.array(best))
        assert {e.span for e in prediction.entities} == {span for span, stays in zip(spans, kept, strict=True) if stays}
        assert {e for r in prediction.relations for e in (r.head, r.tail)} <= set(prediction.entities)
        assert set(prediction.relations) <= set(loose.relations)
        clashes += len(overlapping_pairs(loose.entities))
        relations += len(prediction.relations)
    assert clashes
    assert relations


def test_batched_windows_are_one_by_one() -> None:
    rng = random.Random(0)
    encoded = encode([random_example(rng, words=n, id=str(n)) for n in (30, 0, 50, 4)], 3, 16, 6)
    batch = batch_of(encoded)
    config = decoding_config(3, "all", 0.5)
    for prediction, one in zip(decode(batch, NoiseHeads(batch, bias=-2.0), config), encoded, strict=True):
        alone = batch_of([one])
        assert_same(prediction, decode(alone, NoiseHeads(alone, bias=-2.0), config)[0])


@pytest.mark.parametrize("omega", [1, 3])
def test_loose_candidates_give_the_same_predictions(omega: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU runs, where candidates without a left are kept and masked."""
    config = decoding_config(omega, "all", 0.5)
    gold = encode([random_example(random.Random(i), words=9) for i in range(3)], omega)
    batches: list[tuple[Batch, Heads]] = [(batch_of(gold), OracleHeads(batch_of(gold)))]
    batches += [(batch, NoiseHeads(batch, bias=-1.0)) for _, batch in map(noisy_batch, range(4))]
    compact = [decode(batch, heads, config) for batch, heads in batches]
    original = decoding.span_candidates
    monkeypatch.setattr(decoding, "span_candidates", lambda *args: original(*args[:4], "all"))
    loose = [decode(batch, heads, config) for batch, heads in batches]
    assert loose == compact
    assert any(p.relations for predictions in compact for p in predictions)


def test_a_symmetric_relation_is_told_once_with_the_mean_score() -> None:
    schema = Schema(("Per",), ("Kin", "WorkFor"), symmetric=("Kin",))
    gold = build_example(("Ada", "her"), [(0, 1, "Per"), (1, 2, "Per")])
    batch = batch_of(encode([gold], schema=schema))

    class TwoLinks(OracleHeads):
        def link_logits(self, *arguments: torch.Tensor) -> torch.Tensor:
            head_P, tail_P = arguments[2:]
            forth, back = (head_P == 0) & (tail_P == 1), (head_P == 1) & (tail_P == 0)
            logits = torch.full((len(head_P), 2), -20.0)
            logits[forth], logits[back] = torch.tensor([3.0, 3.0]), torch.tensor([-1.0, -1.0])
            return logits

    def links(threshold: float) -> dict[str, float]:
        (p,) = decode(batch, TwoLinks(batch, schema), decoding_config(1, "argmax", threshold, schema=schema))
        assert all(r.head.start == 0 for r in p.relations)
        return {r.type: s for r, s in zip(p.relations, p.relation_scores, strict=True)}

    high, low = torch.tensor([3.0, -1.0]).sigmoid().tolist()
    assert links(0.5) == {"Kin": pytest.approx((high + low) / 2), "WorkFor": pytest.approx(high)}
    assert links(0.7) == {"WorkFor": pytest.approx(high)}  # the mean is 0.61


def test_a_link_found_from_tail_to_head_is_told_from_head_to_tail_once_with_the_larger_score() -> None:
    schema = Schema(("Per",), ("WorkFor", "Owns"))
    batch = batch_of(encode([build_example(("Ada", "her"), [(0, 1, "Per"), (1, 2, "Per")])], schema=schema))
    answers = {(0, 0): (-9.0, -9.0, -9.0, 2.0), (0, 1): (3.0, -9.0, -9.0, -9.0), (1, 0): (-9.0, -1.0, 1.0, 4.0)}

    class BothReadings(OracleHeads):
        def link_logits(self, *arguments: torch.Tensor) -> torch.Tensor:
            pairs = zip(*(end.tolist() for end in arguments[2:]), strict=True)
            return torch.tensor([answers.get(pair, (-9.0,) * 4) for pair in pairs])

    def links(inverse_links: bool) -> dict[tuple[int, int, str], float]:
        config = decoding_config(1, "argmax", 0.25, inverse_links=inverse_links, schema=schema)
        (p,) = decode(batch, BothReadings(batch, schema), config)
        named = [(r.head.start, r.tail.start, r.type) for r in p.relations]
        return dict(zip(named, p.relation_scores, strict=True))

    two, three, four, minus_one = torch.tensor([2.0, 3.0, 4.0, -1.0]).sigmoid().tolist()
    forth = {(0, 1, "WorkFor"): pytest.approx(three), (1, 0, "Owns"): pytest.approx(minus_one)}
    assert links(False) == forth
    assert links(True) == {**forth, (0, 0, "Owns"): pytest.approx(two), (0, 1, "Owns"): pytest.approx(four)}


def test_the_threshold_cuts_by_score() -> None:
    _, batch = noisy_batch(1, words=14)
    everything = decode(batch, NoiseHeads(batch, bias=-1.0), decoding_config(2, "all", 0.0))
    scored = [dict(zip(p.relations, p.relation_scores, strict=True)) for p in everything]
    assert sum(map(len, scored)) > 50
    for threshold in (0.2, 0.5, 0.9, 1.0):
        cut = decode(batch, NoiseHeads(batch, bias=-1.0), decoding_config(2, "all", threshold))
        for before, after, known in zip(everything, cut, scored, strict=True):
            assert after.entities == before.entities
            expected = {r: s for r, s in known.items() if s > threshold}
            assert dict(zip(after.relations, after.relation_scores, strict=True)) == expected


def test_decide_types_and_probabilities() -> None:
    logits = torch.tensor([[1.0, 3.0, -1.0], [-2.0, -1.0, -3.0], [4.0, 5.0, 6.0]])
    valid = torch.tensor([True, True, False])
    assert decide_types(logits, valid, "all").tolist() == [[True, True, False], [False] * 3, [False] * 3]
    assert decide_types(logits, valid, "argmax").tolist() == [[False, True, False], [False] * 3, [False] * 3]
    together = torch.tensor([[-0.5, -0.4, -0.6], [-2.0, -1.0, -3.0], [4.0, 5.0, 6.0]])  # some type rather than none
    assert decide_types(together, valid, "sum").tolist() == [[False, True, False], [False] * 3, [False] * 3]
    assert not decide_types(together, valid, "argmax").any()
    chances = type_probabilities(logits)
    denominator = (1 + logits.exp().sum(1)).unsqueeze(1)
    torch.testing.assert_close(chances, logits.exp() / denominator)


# the model's own heads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("omega", "inverse_links"), [(1, False), (3, False), (1, True), (3, True)])
def test_the_models_heads_are_the_equations(omega: int, inverse_links: bool) -> None:
    """Decoding asks IsLeft, IsSpan and IsLink about the concatenations Eq. 4 to 7 print."""
    model = tiny_model("bert", omega=omega, type_decision="all", inverse_links=inverse_links).double()
    encoded, batch = noisy_batch(0, words=5)

    class Loops(NoiseHeads):
        def noise(self, slots: Sequence[torch.Tensor], outputs: int) -> torch.Tensor:
            head = {1: model.is_left, 2: model.is_span, 4: model.is_link}[len(slots)]
            assert head is not None
            places = [int(slot) for slot in slots]
            if len(places) == 4 and omega == 1:
                places = places[1::2]  # psi = 2: last subwords alone
            x = torch.cat([hidden[place] for place in places])
            w_a, w_i = head.w_in.weight.chunk(2, dim=0)
            return (head.w_out.weight @ (torch.relu(w_a @ x) * (w_i @ x))).unsqueeze(0)

    found = 0
    config = decoding_config(omega, "all", 0.5, inverse_links=inverse_links)
    for prediction, one in zip(model.decode(batch), encoded, strict=True):
        alone = batch_of([one])
        hidden = model.encode(alone).detach()
        assert_same(prediction, loop_decode(one, Loops(alone), config))
        found += len(prediction.relations)
    assert found


def test_predict_keeps_order_and_reads_no_gold() -> None:
    model = tiny_model("bert", omega=2, max_subwords=20, window_overlap=4)
    rng = random.Random(0)
    gold = [random_example(rng, words=rng.randint(0, 30), id=str(i)) for i in range(9)]
    model.train()
    predictions = model.predict(gold, batch_size=4)
    assert model.training  # left as it was
    assert any(p.entities for p in predictions)
    bare = [Example(e.words, id=e.id) for e in gold]
    for one, prediction, example in zip(bare, predictions, gold, strict=True):
        assert_same(prediction, model.predict([one], batch_size=1)[0], 1e-5)
        assert all(e.end <= len(example.words) for e in prediction.entities)
        assert list(prediction.entities) == sorted(set(prediction.entities))
    assert model.predict([]) == []
    cut = model.predict(gold, link_threshold=1.0)
    assert not any(p.relations for p in cut)


def test_context_gets_no_entities() -> None:
    model = tiny_model("bert")
    with torch.no_grad():
        for head in (model.is_left, model.is_span):
            head.register_forward_hook(lambda module, args, logits: torch.ones_like(logits))
    context = {"left_context": COMMON[:4], "right_context": COMMON[4:]}
    (prediction,) = model.predict([Example(("Ada", "lives"), **context)])  # type: ignore[arg-type]
    assert [e.span for e in prediction.entities] == [(0, 1), (1, 2)]
