"""The model card: README.md of a published model, written from what the run folder recorded.

What is not recorded is told as not recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from iter_lightning.apps.export.facts import ModelFacts, Scored
from iter_lightning.apps.export.metadata import CardOptions, languages, metadata
from iter_lightning.apps.export.usage import usage

NOT_RECORDED = "not recorded"
_MEANINGS = {
    "gold": {
        "corpus": "all annotation of the corpus counts, also what the model cannot express",
        "encoded": "annotation that the encoding lost is left out of recall",
    },
    "match": {
        "position": "a span is right at its place alone",
        "surface": "equal mentions of a sentence count as one",
    },
    "symmetric": {
        "once": "a symmetric relation counts once, whichever direction is listed",
        "twice": "a symmetric relation counts in both directions",
    },
    "split_protocol": {
        "clean": "nothing was trained or selected on the test split",
        "paper": "training and selection as in the published numbers, which may see dev and test",
    },
}
_CITATION = """@inproceedings{hennen-etal-2024-iter,
    title = "{ITER}: Iterative Transformer-based Entity Recognition and Relation Extraction",
    author = "Hennen, Moritz and Babl, Florian and Geierhos, Michaela",
    booktitle = "Findings of the Association for Computational Linguistics: EMNLP 2024",
    year = "2024",
    url = "https://aclanthology.org/2024.findings-emnlp.655/",
}"""


def model_card(facts: ModelFacts, options: CardOptions, parity: str = "") -> str:
    """README.md.

    Args:
        facts: of the model and its run.
        options: what the exporter says.
        parity: how the ONNX graphs compare with the model; empty where there are none.
    """
    sections = (
        _summary(facts, options),
        usage(facts, options, bool(parity)),
        _scores(facts),
        _data(facts),
        _training(facts),
        f"## ONNX\n\nThe graphs in `onnx/` against the model: {' '.join(parity.split())}." if parity else "",
        _limits(facts),
        _energy(facts, options),
        _cite(facts),
    )
    front = metadata(facts, options).to_yaml()
    return f"---\n{front}\n---\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def code(name: object) -> str:
    """A name as code, whatever it is made of."""
    return "`" + " ".join(str(name).replace("`", "'").split()) + "`"


def _summary(facts: ModelFacts, options: CardOptions) -> str:
    config, schema, manifest = facts.config, facts.config.schema, facts.manifest
    known = languages(facts, options)
    nesting = "flat: entities never overlap" if config.flat else "entities may overlap and nest"
    made = (manifest.get("versions") or {}).get("iter-lightning")
    what = "entities and the relations between them" if schema.relation_types else "entities"
    rows = [
        ("entity types", _names(schema.entity_types)),
        ("relation types", _names(schema.relation_types) or "none"),
        ("symmetric relation types", _names(schema.symmetric) or "none"),
        ("nesting", f"{nesting}; ω = {config.omega}: how many of the closest starts an end may pair with"),
        ("encoder", f"{code(facts.encoder) if facts.encoder else NOT_RECORDED} ({config.encoder.get('model_type')})"),
        ("parameters", f"{facts.parameters:,}"),
        ("window", f"{facts.max_subwords} subwords; longer texts in windows that share {config.window_overlap}"),
        ("link threshold λ", f"{config.link_threshold:g}"),
        ("language", ", ".join(known) or NOT_RECORDED),
        ("trained on", (manifest.get("data") or {}).get("title") or NOT_RECORDED),
        ("licence of the weights", options.license or NOT_RECORDED),
        ("author", options.author or NOT_RECORDED),
        ("made with", f"iter_lightning {made}" if made else NOT_RECORDED),
    ]
    return (
        f"# {options.name.rpartition('/')[2]}\n\nFinds {what} in raw text: typed spans, and typed, directed links. An "
        "ITER model: one pass of a transformer encoder and three small heads, no decoder, no generation.\n\n"
        + table(("", ""), rows)
    )


def _scores(facts: ModelFacts) -> str:
    if not facts.results:
        return f"## Scores\n\nScores: {NOT_RECORDED}."
    parts = [
        "## Scores\n\nIn percent; *NER*: span and type right. *RE*: both arguments' spans and the relation type right. "
        "*RE+*: RE and both entity types. A number means what stands with it:"
    ]
    used = {(key, value) for scored in facts.results for key, value in scored.definition.to_dict().items()}
    parts.append("\n".join(
        f"- `{key}: {value}`: {meaning}" for key, values in _MEANINGS.items() for value, meaning in values.items()
        if (key, value) in used
    ))  # fmt: skip
    own = facts.config.link_threshold
    if any(scored.link_threshold not in (None, own) for scored in facts.results):
        parts.append(
            f"**λ was changed after these scores were made**: this model links above λ = {own:g}{_chosen(facts)}; the "
            "relations scored below are those above the λ told with them, which `link_threshold` sets."
        )
    parts += [part for scored in facts.main for part in _split(scored)]
    if facts.others:
        rows = [(s.describe(), *(_percent(task["micro"]["f1"]) for task in s.scores.values())) for s in facts.others]
        parts.append("### The same predictions under other definitions (micro F1)")
        parts.append(table(("definition", *facts.others[0].scores), rows))
    return "\n\n".join(parts)


def _chosen(facts: ModelFacts) -> str:
    chosen = facts.manifest.get("link_threshold") or {}
    return f" (chosen on {chosen['chosen_on']} by {chosen['by']})" if {"chosen_on", "by"} <= set(chosen) else ""


def _split(scored: Scored) -> list[str]:
    columns = ("precision", "recall", "f1")
    head = ("", "P", "R", "F1", "right", "spurious", "missed", "macro F1")
    rows = [
        (task, *(_percent(s["micro"][c]) for c in columns), *(s["micro"][c] for c in ("tp", "fp", "fn")),
         _percent(s["macro"]["f1"]))
        for task, s in scored.scores.items()
    ]  # fmt: skip
    types = [
        (task, code(name), *(_percent(values[c]) for c in columns), values["support"])
        for task, s in scored.scores.items()
        for name, values in s["per_type"].items()
    ]
    return [
        f"### {scored.split}",
        f"micro · {scored.describe()}"
        + (". The model was selected on this split: its scores are optimistic." if scored.split == "dev" else ""),
        table(head, rows),
        table(("", "type", "P", "R", "F1", "gold"), types),
    ]


def _data(facts: ModelFacts) -> str:
    data, corpus = facts.manifest.get("data") or {}, facts.corpus
    if not data:
        return f"## Data\n\nTraining data: {NOT_RECORDED}."
    own = facts.data_class == "Synthetic"
    licence = corpus.licence if corpus else "generated by iter_lightning" if own else NOT_RECORDED
    parts = [
        f"## Data\n\n{data.get('title')}. Licence of the corpus: {licence}. "
        f"Citation: {corpus.citation if corpus else NOT_RECORDED}. No text of it is part of this folder.",
    ]
    protocol = facts.hyperparameters().get("data.split_protocol")
    if protocol in _MEANINGS["split_protocol"]:
        parts.append(f"Splits: `split_protocol: {protocol}`: {_MEANINGS['split_protocol'][protocol]}.")
    splits = [
        (name, *(split.get(key, NOT_RECORDED) for key in ("sentences", "entities", "relations")),
         code(str(split.get("sha256", NOT_RECORDED))[:16]))
        for name, split in (data.get("splits") or {}).items()
    ]  # fmt: skip
    if splits:
        parts.append(table(("split", "sentences", "entities", "relations", "sha256"), splits))
    return "\n\n".join(parts)


def _training(facts: ModelFacts) -> str:
    manifest = facts.manifest
    if not manifest:
        return f"## Training\n\nHyperparameters, versions, hardware, time: {NOT_RECORDED}."
    parts = ["## Training"]
    if manifest.get("status") != "finished":
        parts.append("**The training had not finished** when this model was taken: it was the best on dev until then.")
    best, commit = manifest.get("best") or {}, manifest.get("commit")
    changed = "" if manifest.get("commit_clean", True) else " with uncommitted changes"
    versions = ", ".join(f"{name} {v}" for name, v in (manifest.get("versions") or {}).items() if v)
    start = manifest.get("init") or {}
    origin = f"{facts.encoder or NOT_RECORDED}, heads from random weights"
    if start:
        origin = (
            f"the run {code(str(start.get('from', NOT_RECORDED)).rpartition('/')[2])}, sha256 {start.get('sha256')}"
        )
    rows = [
        ("started from", origin),
        ("seed", manifest.get("seed", NOT_RECORDED)),
        ("epochs", manifest.get("epochs", NOT_RECORDED)),
        ("selected", f"epoch {best['epoch']} (from 0), dev F1 {_percent(best['dev/f1'])}" if best else NOT_RECORDED),
        ("commit of iter_lightning", f"{code(commit)}{changed}" if commit else NOT_RECORDED),
        ("versions", versions or NOT_RECORDED),
        *((code(name), code(value)) for name, value in facts.hyperparameters().items()),
    ]
    return "\n\n".join([*parts, table(("", ""), rows)])


def _limits(facts: ModelFacts) -> str:
    config, schema = facts.config, facts.config.schema
    lines = [
        f"It knows the {len(schema.entity_types)} entity and {len(schema.relation_types)} relation types above and "
        "no others: what else a text says is not found, or is taken for one of them.",
        "Texts unlike its training data, in genre, domain, time or language, are read worse; the scores above do not "
        "tell how much.",
        "Scores of entities and relations are the heads' probabilities. They are not calibrated: 0.9 does not mean "
        "that nine of ten are right. Choose thresholds on data of your own.",
        f"A text longer than {facts.max_subwords} subwords is read in overlapping windows; a relation between entities "
        "that no window holds both is not found. "
        + (
            "It was trained on whole documents: sentences by themselves are unlike what it knows."
            if facts.context == "document"
            else "Read by sentence, as it was trained, no relation crosses sentences."
        ),
        "Entities begin and end at words, as the splitter makes them: a part of a word is never one.",
    ]
    if config.flat:
        lines.append("Of overlapping candidates only the most probable is kept: nested entities are lost.")
    else:
        lines.append(
            f"An entity in which more than {config.omega - 1} others start cannot be found (ω = {config.omega})."
        )
    lines += _lost(facts)
    lines.append(
        "It repeats what its corpus and encoder hold: names, places and roles that they mention often are found more "
        "often, and who is linked to whom follows their habits. Found relations are claims of a text, read by a "
        "model: do not decide about people by them without a person who checks."
    )
    return "## Limits and risks\n\n" + "\n".join(f"- {line}" for line in lines)


def _lost(facts: ModelFacts) -> Iterable[str]:
    for split, counts in (facts.manifest.get("encoding") or {}).items():
        parts = [
            f"{counts[kind] - counts[f'{kind}_expressed']} of {counts[kind]} {kind}"
            for kind in ("entities", "relations")
            if kind in counts and f"{kind}_expressed" in counts
        ]
        if parts:
            yield (
                f"What its encoding cannot express of {split}: {', '.join(parts)}; {counts.get('erased_words', 0)} "
                f"words have no subword, {counts.get('clipped_words', 0)} are cut."
            )


def _energy(facts: ModelFacts, options: CardOptions) -> str:
    manifest, seconds = facts.manifest, facts.manifest.get("seconds")
    hardware = f"{manifest['device']}, {manifest.get('platform', NOT_RECORDED)}" if manifest.get("device") else ""
    devices = facts.hyperparameters().get("trainer.devices")
    attempts = len(manifest.get("attempts") or [])
    lines = [
        "Training time: "
        + (f"{seconds / 3600:.2f} h of wall time, evaluation on dev included" if seconds else NOT_RECORDED)
        + (f", in {attempts} attempts (epochs that were cut short are not in it)" if seconds and attempts > 1 else "")
        + f". Hardware: {hardware or NOT_RECORDED}" + (f", devices: {devices}" if hardware and devices else "") + "."
    ]  # fmt: skip
    if seconds and options.watts:
        energy = seconds / 3600 * options.watts / 1000
        lines.append(
            f"Energy: estimated, not measured: {energy:.3f} kWh = {seconds / 3600:.2f} h x {options.watts:g} W / 1000, "
            "the power as the exporter gave it. Carbon: not measured (energy x the grid's intensity)."
        )
    else:
        lines.append("Energy and carbon: not measured.")
    return "## Time and energy\n\n" + " ".join(lines)


def _cite(facts: ModelFacts) -> str:
    corpus = f"\n\nThe corpus: {facts.corpus.citation}." if facts.corpus else ""
    return f"## Citation\n\nThe method:\n\n```bibtex\n{_CITATION}\n```{corpus}"


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; whatever is in a cell stays in it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(content: object) -> str:
    return " ".join(str(content).replace("|", "\\|").split())


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(code, names))


def _percent(value: Any) -> str:
    return f"{100 * float(value):.1f}"
