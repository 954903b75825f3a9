"""The model card: the README.md of an exported model, rendered from `card.md.jinja`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from iter_lightning.apps.export.facts import ModelFacts
from iter_lightning.corpora import CATALOG
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.splitting import LANGUAGE

_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_ENGLISH = {*CATALOG, "synthetic"}
"""Corpora with known language: all of the catalog, and the generated one."""
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*|multilingual")
_LICENSE_ID = re.compile(r"[A-Za-z0-9.+-]+")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class CardOptions:
    """What the model card states in addition to the records of the run.

    Raises:
        ConfigError: a language is not a code, the license is empty, or the power is out of range.

    Example:
        >>> CardOptions("owner/mine", license="apache-2.0", languages=("xx",)).languages
        ('multilingual',)
    """

    name: str
    """Where users find the model: a hub id, or the name of a folder."""
    license: str | None = None
    """License of the weights: an identifier of the hub, or a name that contains a space."""
    languages: tuple[str, ...] = ()
    """ISO 639 codes; `xx` or `multilingual` for many languages."""
    author: str | None = None
    watts: float | None = None
    """Mean electrical power of the training machine."""

    def __post_init__(self) -> None:
        languages = tuple("multilingual" if code == "xx" else code for code in self.languages)
        object.__setattr__(self, "languages", languages)
        for code in languages:
            if not _LANGUAGE.fullmatch(code):
                raise ConfigError(f"language {code!r}: expected an ISO 639 code such as en or de, or xx for many")
        if self.license is not None and not self.license.strip():
            raise ConfigError("the license is empty: expected an identifier such as apache-2.0, or a name")
        if self.watts is not None and not 0 < self.watts < 1e7:
            raise ConfigError(f"watts must be above 0, found {self.watts:g}")


def model_card(facts: ModelFacts, options: CardOptions, parity: str = "") -> str:
    """Render README.md.

    Args:
        facts: the model and the records of its run. Facts that are missing are stated as not recorded.
        options: what the user states.
        parity: how the ONNX graphs compare with the model; empty without graphs.

    Returns:
        YAML for the hub, followed by Markdown.
    """
    languages = _languages(facts, options)
    language = _spacy_language(languages)
    flags = "" if language == (facts.config.language or LANGUAGE) else f" --language {language}"
    card = ModelCard.from_template(
        metadata(facts, options), template_path=str(_TEMPLATE), facts=facts, options=options, languages=languages,
        language=language, shell_name=shlex.quote(options.name), title=options.name.rpartition("/")[2],
        flags=flags + (" --context document" if facts.context == "document" else ""),
        definitions={pair for scored in facts.results for pair in scored.definition.to_dict().items()},
        parity=" ".join(parity.split()),
    )  # fmt: skip
    return f"{card}\n"


def metadata(facts: ModelFacts, options: CardOptions) -> ModelCardData:
    """Return the metadata by which the hub searches and links; `model-index` has the scores on test, else on dev."""
    relations = ["relation-extraction"] if facts.config.schema.relation_types else []
    nested = [] if facts.config.flat else ["nested-ner"]
    license, license_name = license_fields(options.license)
    return ModelCardData(
        language=_languages(facts, options) or None, license=license, license_name=license_name,
        library_name="iter_lightning",
        tags=["iter", "named-entity-recognition", *relations, *nested, "information-extraction", "knowledge-graph"],
        datasets=[facts.corpus.name] if facts.corpus else None,
        base_model=facts.encoder if facts.encoder and _HUB_ID.fullmatch(facts.encoder) else None,
        pipeline_tag="token-classification",
        metrics=["precision", "recall", "f1"] if facts.results else None,
        model_name=options.name.rpartition("/")[2] if facts.results else None,
        eval_results=list(_eval_results(facts)) or None,
    )  # fmt: skip


def license_fields(name: str | None) -> tuple[str, str | None]:
    """Return the hub's `license` and `license_name`.

    The hub defines the identifiers and refuses others when the model is pushed. A name that is not shaped like an
    identifier becomes `other` with a `license_name`.
    """
    if name is None:
        return "unknown", None
    if _LICENSE_ID.fullmatch(name):
        return name.lower(), None
    return "other", re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-") or "other"


def _languages(facts: ModelFacts, options: CardOptions) -> list[str]:
    """Return the user's languages, else the model's, else the corpus's; empty if none is known."""
    if options.languages:
        return list(options.languages)
    if facts.config.language:
        return ["multilingual" if facts.config.language == "xx" else facts.config.language]
    return ["en"] if facts.data_class.lower() in _ENGLISH else []


def _spacy_language(languages: list[str]) -> str:
    """Return spaCy's code: `zh` for `zh-Hant`, `xx` for many languages, English if none is known."""
    if not languages:
        return "en"
    return "xx" if len(languages) > 1 or languages == ["multilingual"] else languages[0].partition("-")[0]


def _eval_results(facts: ModelFacts) -> Iterator[EvalResult]:
    for scored in facts.main[-1:]:
        definition = {"average": "micro", **scored.definition.to_dict()}
        threshold = {} if scored.link_threshold is None else {"link_threshold": scored.link_threshold}
        for task, scores in scored.scores.items():
            ner = task == "NER"
            for metric in ("f1", "precision", "recall"):
                yield EvalResult(
                    task_type="token-classification" if ner else "relation-extraction",
                    task_name="Named entity recognition" if ner else "Relation extraction",
                    dataset_type=facts.data_class.lower() or "unknown",
                    dataset_name=str((facts.manifest.get("data") or {}).get("title") or "not recorded"),
                    dataset_split={"dev": "validation"}.get(scored.split, scored.split),
                    metric_type=metric, metric_name=f"{task} micro {'F1' if metric == 'f1' else metric}",
                    metric_value=round(float(scores["micro"][metric]), 4), metric_args={**definition, **threshold},
                )  # fmt: skip
