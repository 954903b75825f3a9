"""The YAML that opens a model card: what the hub searches, links and shows scores by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from iter_lightning.apps.export.facts import ModelFacts, Scored
from iter_lightning.corpora import CATALOG
from iter_lightning.errors import ConfigError

ENGLISH = frozenset(CATALOG) | {"synthetic"}
"""Corpora whose language we know: all of the catalogue, and the generated one."""
_TASKS = {"NER": ("token-classification", "Named entity recognition")}
_LINKS = ("relation-extraction", "Relation extraction")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_LICENSES = """
afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0 bigscience-openrail-m bsd
bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0
cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0
creativeml-openrail-m ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gemma gfdl gpl gpl-2.0 gpl-3.0 isc lgpl
lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by
ofl-1.1 openrail openrail++ osl-3.0 other pddl postgresql unknown unlicense wtfpl zlib
"""
"""Identifiers the hub knows; another licence is `other` with a name."""


@dataclass(frozen=True)
class CardOptions:
    """What the one who exports says of the model; what is not said is told as not recorded.

    Raises:
        ConfigError: a language that is no code.
    """

    name: str
    """Where users find it: a hub id, or a folder's name."""
    license: str | None = None
    """Of the weights: an SPDX identifier, or a name."""
    languages: tuple[str, ...] = ()
    """ISO 639 codes; `xx` or `multilingual` for many."""
    author: str | None = None
    watts: float | None = None
    """Mean electrical power of the training machine."""

    def __post_init__(self) -> None:
        languages = tuple("multilingual" if code == "xx" else code for code in self.languages)
        object.__setattr__(self, "languages", languages)
        for code in languages:
            if code != "multilingual" and not _LANGUAGE.fullmatch(code):
                raise ConfigError(f"language {code!r}: expected an ISO 639 code, as en or de, or xx for many")
        if self.license is not None and not self.license.strip():
            raise ConfigError("the licence is empty: expected an identifier, as apache-2.0, or a name")
        if self.watts is not None and not 0 < self.watts < 1e7:
            raise ConfigError(f"watts must be above 0, found {self.watts:g}")


def metadata(facts: ModelFacts, options: CardOptions) -> ModelCardData:
    """The card's data, as huggingface_hub has it; `model-index` holds test, or dev where nothing was tested."""
    nested = [] if facts.config.flat else ["nested-ner"]
    relations = ["relation-extraction"] if facts.config.schema.relation_types else []
    base = facts.encoder if facts.encoder and _HUB_ID.fullmatch(facts.encoder) else None
    return ModelCardData(
        language=languages(facts, options) or None,
        license=license_fields(options.license)[0],
        license_name=license_fields(options.license)[1],
        library_name="iter_lightning",
        tags=["iter", "named-entity-recognition", *relations, *nested, "information-extraction", "knowledge-graph"],
        datasets=[facts.corpus.name] if facts.corpus else None,
        base_model=base,
        pipeline_tag="token-classification",
        metrics=["precision", "recall", "f1"] if facts.results else None,
        model_name=options.name.rpartition("/")[2] if facts.results else None,
        eval_results=list(_eval_results(facts)) or None,
    )


def languages(facts: ModelFacts, options: CardOptions) -> list[str]:
    """Return those that the exporter gives, else the model's, else the corpus's; none if none is known."""
    if options.languages:
        return list(options.languages)
    if facts.config.language:
        return ["multilingual" if facts.config.language == "xx" else facts.config.language]
    return ["en"] if facts.data_class.lower() in ENGLISH else []


def license_fields(name: str | None) -> tuple[str, str | None]:
    """The hub's `license`, and its `license_name` where the hub does not know it."""
    if name is None:
        return "unknown", None
    if name.lower() in _LICENSES.split():
        return name.lower(), None
    return "other", re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-") or "other"


def _eval_results(facts: ModelFacts) -> Iterator[EvalResult]:
    for scored in facts.main[-1:]:
        for task, scores in scored.scores.items():
            for metric in ("f1", "precision", "recall"):
                yield _eval_result(facts, scored, task, metric, scores["micro"])


def _eval_result(facts: ModelFacts, scored: Scored, task: str, metric: str, micro: Mapping[str, Any]) -> EvalResult:
    title = str((facts.manifest.get("data") or {}).get("title") or "not recorded")
    kind, name = _TASKS.get(task, _LINKS)
    meaning: dict[str, Any] = {"average": "micro", **scored.definition.to_dict()}
    if scored.link_threshold is not None:
        meaning["link_threshold"] = scored.link_threshold
    return EvalResult(
        task_type=kind, task_name=name, dataset_type=facts.data_class.lower() or "unknown",
        dataset_name=title, dataset_split={"dev": "validation"}.get(scored.split, scored.split),
        metric_type=metric, metric_value=round(float(micro[metric]), 4),
        metric_name=f"{task} micro {'F1' if metric == 'f1' else metric}", metric_args=meaning,
    )  # fmt: skip
