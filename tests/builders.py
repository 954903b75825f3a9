"""What several tests build from: tiny tokenizers and encoders, random examples, heads that answer by rule.

Nothing here is fetched: tokenizers are made in memory, encoders have random weights.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import (
    AlbertConfig,
    BartConfig,
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    T5Config,
)

from iter_lightning.features import Aligner, Batch, EncodedExample, collate
from iter_lightning.model import IterConfig, IterModel
from iter_lightning.model import encoder as encoders
from iter_lightning.model.brackets import SpanCandidates
from iter_lightning.types import Entity, Example, Prediction, Relation, Schema

SCHEMA = Schema(("Loc", "Org", "Per"), ("Kin", "LiveIn", "Near", "WorkFor"), symmetric=("Kin", "Near"))
COMMON = ("Ada", "the", "lives", "in", "London", "works", "for", "Bank", "of", "University", "and", "her", "brother")
ODD = (
    "", " ", "\u200b", "\u0000", "\t", "☕", "👩‍🚀", "naïve", "北京", "don't", "3.14", "[SEP]", "</s>", "Ω≈", "\ufeff",
    "a\u0301",
)  # fmt: skip


# tokenizers ----------------------------------------------------------------------------------------------------------


@cache
def wordpiece_tokenizer() -> PreTrainedTokenizerFast:
    """BERT's kind: `[CLS] ... [SEP]`, control characters removed, unknown characters `[UNK]`."""
    letters = [chr(c) for c in range(33, 127)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + c for c in letters), *COMMON]
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(dict.fromkeys(vocabulary))}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    )  # fmt: skip


@cache
def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """RoBERTa's and ModernBERT's kind: any byte has a token, a word begins with `Ġ`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([" ".join(COMMON)] * 5, trainer)
    special = [(t, tokenizer.token_to_id(t)) for t in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        mask_token=AddedToken("<mask>", lstrip=True), add_prefix_space=True,
    )  # fmt: skip


@cache
def metaspace_tokenizer() -> PreTrainedTokenizerFast:
    """T5's and DeBERTa's kind: a Unigram model, a word begins with `▁`, zero-width characters are normalised away."""
    letters = [chr(c) for c in range(33, 123)]  # no braces, as in T5
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -3.0)]
    pieces += [(c, -5.0) for c in letters] + [("▁" + word, -4.0) for word in COMMON]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex("[\u0000-\u001f\u200b-\u200d\ufeff]"), "")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    special = [("</s>", tokenizer.token_to_id("</s>"))]
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", special)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="</s>")


TOKENIZERS = {"wordpiece": wordpiece_tokenizer, "byte_level": byte_level_tokenizer, "metaspace": metaspace_tokenizer}


# encoders ------------------------------------------------------------------------------------------------------------

_TRANSFORMER = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 514,
}  # fmt: skip
_DEBERTA_V3 = {
    "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16, "norm_rel_ebd": "layer_norm",
    "share_att_key": True, "position_biased_input": False, "type_vocab_size": 0, "max_relative_positions": -1,
}  # fmt: skip
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
_BART = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 64, "max_position_embeddings": 514,
}  # fmt: skip

FAMILIES: dict[str, tuple[type[PretrainedConfig], str, dict[str, Any]]] = {
    "t5": (T5Config, "metaspace", {**_T5, "feed_forward_proj": "relu"}),
    "flan_t5": (T5Config, "metaspace", {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "bart": (BartConfig, "byte_level", _BART),
    "bert": (BertConfig, "wordpiece", _TRANSFORMER),
    "roberta": (RobertaConfig, "byte_level", _TRANSFORMER),
    "albert": (AlbertConfig, "metaspace", {**_TRANSFORMER, "embedding_size": 16}),
    "deberta_v2": (DebertaV2Config, "metaspace", _TRANSFORMER),
    "deberta_v3": (DebertaV2Config, "metaspace", {**_TRANSFORMER, **_DEBERTA_V3}),
    "modernbert": (
        ModernBertConfig,
        "byte_level",
        {
            **_TRANSFORMER,
            "num_hidden_layers": 3,
            "global_attn_every_n_layers": 3,
            "local_attention": 16,
            "cls_token_id": 0,
            "sep_token_id": 2,
        },
    ),
}


def tiny_config(family: str) -> PretrainedConfig:
    """A two-layer encoder of 32 hidden units; its vocabulary is its tokenizer's."""
    config_class, kind, values = FAMILIES[family]
    tokenizer = TOKENIZERS[kind]()
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    special = {name: value for name, value in special.items() if value is not None}
    config: PretrainedConfig = config_class(vocab_size=len(tokenizer), **values, **special)
    return config


def tiny_model(family: str = "bert", schema: Schema = SCHEMA, seed: int = 0, **options: Any) -> IterModel:
    """A random model in `eval()` mode, with its tokenizer."""
    torch.manual_seed(seed)
    config = tiny_config(family)
    model = IterModel(
        IterConfig(schema=schema, encoder=config.to_dict(), **options),
        encoders.build_encoder(config),
        TOKENIZERS[FAMILIES[family][1]](),
    )
    return model.eval()


# examples ------------------------------------------------------------------------------------------------------------


def build_example(
    words: Sequence[str],
    spans: Sequence[tuple[int, int, str]],
    links: Sequence[tuple[int, int, str]] = (),
    id: str = "",
) -> Example:
    """An example from (start, end, type) and (head index, tail index, type)."""
    entities = tuple(Entity(*span) for span in spans)
    relations = tuple(Relation(entities[head], entities[tail], kind) for head, tail, kind in links)
    return Example(tuple(words), entities, relations, id=id)


def random_example(
    rng: random.Random, schema: Schema = SCHEMA, words: int = 12, entities: int = 5, relations: int = 5,
    longest: int = 6, one_type_a_span: bool = True, id: str = "", vocabulary: Sequence[str] = COMMON,
) -> Example:  # fmt: skip
    """Random spans, nested and crossing, and random links, self links included."""
    spans: dict[Any, tuple[int, int, str]] = {}
    for _ in range(entities if words else 0):
        start = rng.randrange(words)
        end = min(words, start + rng.randint(1, longest))
        kind = rng.choice(schema.entity_types)
        spans[(start, end) if one_type_a_span else (start, end, kind)] = (start, end, kind)
    found = list(spans.values())
    links = {
        (rng.randrange(len(found)), rng.randrange(len(found)), rng.choice(schema.relation_types))
        for _ in range(relations if found and schema.relation_types else 0)
    }
    return build_example([rng.choice(vocabulary) for _ in range(words)], found, sorted(links), id)


def odd_words() -> st.SearchStrategy[str]:
    """Words as they come from real files: common ones, any characters, none at all."""
    return st.one_of(st.sampled_from(COMMON), st.sampled_from(ODD), st.text(max_size=8))


@st.composite
def examples(
    draw: st.DrawFn, schema: Schema = SCHEMA, max_words: int = 14, one_type_a_span: bool = True,
    words: st.SearchStrategy[str] | None = None,
) -> Example:  # fmt: skip
    """Examples with nested, crossing and equal spans and with relations of every kind."""
    text = draw(st.lists(words if words is not None else st.sampled_from(COMMON), max_size=max_words))
    rng = random.Random(draw(st.integers(0, 2**32)))
    plan = random_example(
        rng, schema, len(text), draw(st.integers(0, 7)), draw(st.integers(0, 7)), draw(st.integers(1, 8)),
        one_type_a_span,
    )  # fmt: skip
    return Example(tuple(text), plan.entities, plan.relations, id=str(rng.random()))


def lost_by_omega(example: Example, omega: int) -> set[Entity]:
    """The entities with more than omega gold lefts between their own brackets, by counting words."""
    starts = {entity.start for entity in example.entities}
    return {e for e in example.entities if sum(e.start <= start < e.end for start in starts) > omega}


def expected_relations(gold: Example, schema: Schema = SCHEMA) -> set[Relation]:
    """What a perfect decoder reports: links are between spans, and symmetric ones are told once."""
    return {
        schema.canonical(Relation(head, tail, relation.type))
        for relation in gold.relations
        for head in gold.entities
        if head.span == relation.head.span
        for tail in gold.entities
        if tail.span == relation.tail.span
    }


def batch_of(encoded: Sequence[EncodedExample], pad_id: int = 0, respect_word_boundaries: bool = True) -> Batch:
    """All windows of the examples in one batch."""
    return collate([(e, n) for e in encoded for n in range(len(e.windows))], pad_id, respect_word_boundaries)


def encode(
    gold: Sequence[Example], omega: int = 1, max_subwords: int = 512, overlap: int = 0, kind: str = "wordpiece",
    schema: Schema = SCHEMA, self_links: bool = True,
) -> list[EncodedExample]:  # fmt: skip
    """Encode with one of the tokenizers above."""
    return Aligner(TOKENIZERS[kind](), schema, omega, max_subwords, overlap, self_links).encode(gold)


# predictions ---------------------------------------------------------------------------------------------------------


def assert_close(mine: Sequence[Prediction], theirs: Sequence[Prediction], tolerance: float = 1e-5) -> None:
    """The same entities and relations, their scores equal to rounding."""
    for one, other in zip(mine, theirs, strict=True):
        assert (one.entities, one.relations) == (other.entities, other.relations)
        assert one.entity_scores == pytest.approx(other.entity_scores, abs=tolerance)
        assert one.relation_scores == pytest.approx(other.relation_scores, abs=tolerance)


# heads ---------------------------------------------------------------------------------------------------------------


class OracleHeads:
    """Answers +10 to what the batch's gold says and -10 to the rest; see `decoding.Heads`.

    Candidates that are none (`valid_C` False) get +10: a decoder that reads them is found out.
    """

    def __init__(self, batch: Batch, schema: Schema = SCHEMA) -> None:
        self.batch = batch
        self.schema = schema
        length = batch.input_ids_BN.shape[1]
        self._lefts = set(batch.gold_left_slots_G.tolist())
        slots = [(row * length + left, row * length + right) for row, left, right in batch.gold_spans_S3.tolist()]
        self._types: dict[tuple[int, int], list[int]] = {}
        for span, kind in batch.gold_types_T2.tolist():
            self._types.setdefault(slots[span], []).append(kind)
        self._links: dict[tuple[int, int, int, int], list[int]] = {}
        for head, tail, kind in batch.gold_links_K3.tolist():
            self._links.setdefault((*slots[head], *slots[tail]), []).append(kind)

    def left_logits(self) -> Tensor:
        return torch.tensor([10.0 if slot in self._lefts else -10.0 for slot in self.batch.left_slots_L.tolist()])

    def span_logits(self, candidates: SpanCandidates) -> Tensor:
        logits = torch.full((len(candidates.valid_C), len(self.schema.entity_types)), -10.0)
        columns = (candidates.left_slot_C.tolist(), candidates.right_slot_C.tolist(), candidates.valid_C.tolist())
        for row, (left, right, valid) in enumerate(zip(*columns, strict=True)):
            logits[row, self._types.get((left, right), []) if valid else slice(None)] = 10.0
        return logits

    def link_logits(self, left_slots_E: Tensor, right_slots_E: Tensor, head_P: Tensor, tail_P: Tensor) -> Tensor:
        spans = list(zip(left_slots_E.tolist(), right_slots_E.tolist(), strict=True))
        logits = torch.full((len(head_P), len(self.schema.relation_types)), -10.0)
        for pair, (head, tail) in enumerate(zip(head_P.tolist(), tail_P.tolist(), strict=True)):
            logits[pair, self._links.get((*spans[head], *spans[tail]), [])] = 10.0
        return logits


class NoiseHeads:
    """Answers any question with a fixed pseudo-random number that depends on the example and positions alone."""

    def __init__(self, batch: Batch, schema: Schema = SCHEMA, bias: float = 0.0) -> None:
        self.batch = batch
        self.schema = schema
        self.bias = bias
        self.length = batch.input_ids_BN.shape[1]
        self._salt = np.array([zlib.crc32(e.example.id.encode()) % 9973 + n for e, n in batch.windows], dtype=float)

    def noise(self, slots: Sequence[Tensor], outputs: int) -> Tensor:
        """[X, outputs] in (-4, 4), from X slots of each of several operands."""
        total = 12.9898 * self._salt[(slots[0] // self.length).numpy()]
        for place, operand in enumerate(slots):
            total = total + (78.233 + 37.719 * place) * (1 + (operand % self.length).numpy())
        values = np.sin(total[:, None] + 4.581 * np.arange(outputs)) * 43758.5453
        return torch.from_numpy((values - np.floor(values)) * 8 - 4 + self.bias)

    def left_logits(self) -> Tensor:
        return self.noise([self.batch.left_slots_L], 1).squeeze(1)

    def span_logits(self, candidates: SpanCandidates) -> Tensor:
        return self.noise([candidates.left_slot_C, candidates.right_slot_C], len(self.schema.entity_types))

    def link_logits(self, left_slots_E: Tensor, right_slots_E: Tensor, head_P: Tensor, tail_P: Tensor) -> Tensor:
        sides = [left_slots_E[head_P], right_slots_E[head_P], left_slots_E[tail_P], right_slots_E[tail_P]]
        return self.noise(sides, len(self.schema.relation_types))
