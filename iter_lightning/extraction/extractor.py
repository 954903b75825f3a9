"""`Extractor`: a trained model as a function from texts to documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, overload

from iter_lightning.errors import ConfigError, TextError
from iter_lightning.extraction.documents import CONTEXTS, Document
from iter_lightning.extraction.grouping import grouped
from iter_lightning.extraction.splitting import Splitter, resolve_language
from iter_lightning.types import NO_LIMITS, Example, Prediction, Schema, WindowLimits, surrogate_fault

if TYPE_CHECKING:
    from iter_lightning.model.inference import InferenceOptions
    from iter_lightning.model.iter import IterModel

BACKENDS = ("torch", "onnx")
MAX_TOKENS = 4096
"""Subwords a batch."""
_DOCUMENTS, _CHARACTERS = 2048, 250_000
"""Of a stream, that are held and read together: so many documents, or as soon as they have so many characters."""


class Backend(Protocol):
    """What predicts: `TorchBackend`, or `onnx.OnnxBackend`."""

    @property
    def schema(self) -> Schema:
        """The model's."""

    @property
    def link_threshold(self) -> float:
        """The model's own lambda."""

    @property
    def kernels(self) -> str:
        """What computes, in one line for reports."""

    def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
        """One prediction an example, in order, as they come; links above the threshold."""


@dataclass(frozen=True)
class TorchBackend:
    """An `IterModel`, on its device and as `prepare` has left it."""

    model: IterModel
    kernels: str = "torch"
    """See `Backend`."""

    @property
    def schema(self) -> Schema:
        """The model's."""
        return self.model.config.schema

    @property
    def link_threshold(self) -> float:
        """The model's own lambda."""
        return self.model.config.link_threshold

    @classmethod
    def load(cls, folder: Path, device: str | None, options: InferenceOptions | None) -> TorchBackend:
        """A folder's model on `device` (None: a GPU where there is one), made fast.

        Raises:
            ConfigError: torch or the device is missing, or the device does not compute the precision or is slow at it.
        """
        check_torch()
        import torch

        from iter_lightning.model import IterModel
        from iter_lightning.model.inference import InferenceOptions, prepare
        from iter_lightning.model.kernels import check_precision, describe

        options = options or InferenceOptions()
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            place = torch.device(device)
            torch.empty(1, device=place)
        except (RuntimeError, AssertionError) as error:  # torch's, if the device does not exist
            raise ConfigError(f"device {device!r}: {str(error).splitlines()[0]}") from error
        check_precision(options.precision, place, options.allow_slow)
        model = prepare(IterModel.from_pretrained(folder).to(place), options)
        return cls(model, describe(options.precision, place, options.compile))

    def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
        """See `Backend`."""
        from iter_lightning.model.pipeline import stream

        return stream(self.model, examples, None, link_threshold=link_threshold, max_tokens=max_tokens)


class Extractor:
    """Finds entities and relations in texts.

    Args:
        backend: what predicts.
        splitter: makes words and sentences of texts; None for documents that have their words.
        context: `sentence`: each is read by itself; `document`: all of it, in overlapping windows where it is longer
            than the encoder takes, with relations across sentences (between entities that a window holds both).
        max_tokens: subwords a batch.

    Raises:
        ConfigError: a context that is none.
    """

    def __init__(
        self, backend: Backend, splitter: Splitter | None, context: str = "sentence", max_tokens: int = MAX_TOKENS
    ) -> None:
        if context not in CONTEXTS:
            raise ConfigError(f"context {context!r} is none of {', '.join(CONTEXTS)}")
        if max_tokens < 1:
            raise ConfigError(f"max_tokens must be at least 1, found {max_tokens}")
        self.backend = backend
        self.splitter = splitter
        self.context = context
        self.max_tokens = max_tokens

    @classmethod
    def from_pretrained(
        cls, model: str | Path, *, language: str | None = None, context: str = "sentence", device: str | None = None,
        options: InferenceOptions | None = None, backend: str = "torch", max_tokens: int = MAX_TOKENS,
        limits: WindowLimits = NO_LIMITS,
    ) -> Extractor:  # fmt: skip
        """An extractor of a model in a folder (a run folder, too) or on the hub.

        Args:
            model: folder or hub id.
            language: spaCy's code for the language of the texts; None is the model's own, or English if it has none;
                "none" if all documents come with their words.
            context, max_tokens: see `Extractor`.
            device: torch's name for it; None is a GPU where there is one.
            options: precision and compilation (torch alone).
            backend: `torch`, or `onnx` for what `export --onnx` wrote.
            limits: entities and relations that are kept of a window; `Document.truncated` reports that there were more.

        Raises:
            ConfigError: an option that is none, or does not go with the backend.
            EncoderError: no model there, or one that does not fit.
        """
        if backend not in BACKENDS:
            raise ConfigError(f"backend {backend!r} is none of {', '.join(BACKENDS)}")
        folder = model_folder(model)
        language = resolve_language(language, folder)
        splitter = None if language is None else Splitter(language)
        loaded: Backend
        if backend == "onnx":
            from iter_lightning.extraction.onnx import OnnxBackend

            if device not in (None, "cpu") or options is not None:
                raise ConfigError("the onnx backend runs on a CPU and takes no options: export decides its precision")
            loaded = replace(OnnxBackend.from_pretrained(folder), limits=limits)
        else:
            loaded = TorchBackend.load(folder, device, options)
            loaded.model.limits = limits
        return cls(loaded, splitter, context, max_tokens)

    @property
    def schema(self) -> Schema:
        """The types the model finds."""
        return self.backend.schema

    @property
    def kernels(self) -> str:
        """What computes, in one line for reports."""
        return self.backend.kernels

    @overload  # a text is a sequence of texts to a type checker
    def __call__(  # type: ignore[overload-overlap]
        self, texts: str | Document, link_threshold: float | None = None, thresholds: Mapping[str, float] | None = None
    ) -> Document: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, texts: Sequence[str | Document], link_threshold: float | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> list[Document]: ...  # fmt: skip
    @overload
    def __call__(
        self, texts: Iterable[str | Document], link_threshold: float | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> Iterator[Document]: ...  # fmt: skip
    def __call__(
        self, texts: str | Document | Iterable[str | Document], link_threshold: float | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> Document | list[Document] | Iterator[Document]:  # fmt: skip
        """What is in a text, in a list of them, or (lazily) in a stream of them.

        Args:
            texts: text, or documents with words of their own (`Document.from_words`).
            link_threshold: lambda, between 0 and 1; None is the model's own.
            thresholds: least probability by type. An entity below its type's goes, with its relations; a relation
                type's takes the place of lambda, lower ones too.

        Raises:
            ConfigError: a threshold outside [0, 1] or of no type of the model; text without a splitter, or something
                that is neither text nor document.
            TextError: a text that UTF-8 cannot hold, with its number and the character. Of a text or a list, before
                anything is read; from a stream, in the place of that text's document: the next one follows.
        """
        rules = Thresholds.of(self.backend, link_threshold, thresholds)
        if isinstance(texts, (str, Document)):
            return next(_Results(self._found(_readable([texts]), rules)))
        if isinstance(texts, Sequence):
            return list(_Results(self._found(_readable(texts), rules)))
        return _Results(self._found(_documents(texts), rules))

    def _found(self, documents: Iterable[Document | TextError], rules: Thresholds) -> Iterator[Document | TextError]:
        """The documents with what is in them; errors keep their places."""
        for group in grouped(documents, _length, _CHARACTERS, _DOCUMENTS):
            split = self._split([document for document in group if isinstance(document, Document)])
            examples = (example for document in split for example in document.examples(self.context))
            predictions = self.backend.predict(examples, rules.lowest_link, self.max_tokens)
            readable = iter(split)
            for item in group:
                if isinstance(item, TextError):
                    yield item
                    continue
                document = next(readable)
                read = list(islice(predictions, len(document.units(self.context))))
                yield rules.apply(document.with_predictions(read, self.context))
            next(predictions, None)  # there is none: the backend lets go of what it holds

    def _split(self, documents: Sequence[Document]) -> Sequence[Document]:
        if self.splitter is not None:
            return self.splitter(documents)
        if any(not document.words and document.text.strip() for document in documents):
            raise ConfigError("text without words: give the extractor a language, or words of your own")
        return documents


class _Results(Iterator[Document]):
    """A stream of documents. An error among them is raised in its place, and the next document follows it."""

    def __init__(self, items: Iterator[Document | TextError]) -> None:
        self._items = items

    def __next__(self) -> Document:
        item = next(self._items)
        if isinstance(item, TextError):
            raise item
        return item


def _documents(texts: Iterable[str | Document]) -> Iterator[Document | TextError]:
    for number, text in enumerate(texts):
        if not isinstance(text, (str, Document)):
            raise ConfigError(f"text {number}: expected a string or a Document, found {type(text).__name__}")
        if isinstance(text, Document):
            yield text
        elif fault := surrogate_fault(text):
            yield TextError(number, fault)
        else:
            yield Document(text)


def _readable(texts: Sequence[str | Document]) -> list[Document | TextError]:
    """Documents of texts; raises the first `TextError`."""
    documents = list(_documents(texts))
    for document in documents:
        if isinstance(document, TextError):
            raise document
    return documents


def _length(item: Document | TextError) -> int:
    return len(item.text) if isinstance(item, Document) else 0


def check_torch() -> None:
    """Raise `ConfigError` where torch is not installed."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError("the torch backend needs torch; --backend onnx runs what `export --onnx` wrote") from error


def model_folder(model: str | Path) -> Path:
    """Where a model lies: the folder itself, the model of a run folder, or a copy of the hub's.

    Raises:
        EncoderError: neither a folder nor a model of the hub.
    """
    if Path(model, "model", "config.json").is_file():
        return Path(model, "model")
    if Path(model).exists():
        return Path(model)
    from iter_lightning.model.hub import locate

    return locate(model)


@dataclass(frozen=True)
class Thresholds:
    """The least probability of each type."""

    entity: Mapping[str, float]
    """Of entity types that have one."""
    relation: Mapping[str, float]
    """Of every relation type: its own, else lambda."""

    @classmethod
    def of(
        cls, backend: Backend, link_threshold: float | None = None, thresholds: Mapping[str, float] | None = None
    ) -> Thresholds:
        """What a caller gave, for the types of a model.

        Raises:
            ConfigError: a number outside [0, 1], or a type the model does not have.
        """
        given, schema = dict(thresholds or {}), backend.schema
        known = {*schema.entity_types, *schema.relation_types}
        if unknown := sorted(set(given) - known):
            raise ConfigError(f"thresholds name {', '.join(map(repr, unknown))}; the model has {sorted(known)}")
        link = backend.link_threshold if link_threshold is None else link_threshold
        for name, value in {"link_threshold": link, **given}.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise ConfigError(f"the threshold {name} must be a number in [0, 1], found {value!r}")
        return cls(
            {name: given[name] for name in schema.entity_types if name in given},
            {name: given.get(name, link) for name in schema.relation_types},
        )

    @property
    def lowest_link(self) -> float:
        """The least of all relation types'; 1 where there are none."""
        return min(self.relation.values(), default=1.0)

    def apply(self, document: Document) -> Document:
        """The document without what is below."""
        entities = tuple(e for e in document.entities if e.score >= self.entity.get(e.type, 0.0))
        kept, lowest = set(entities), self.lowest_link
        relations = tuple(
            r for r in document.relations
            if r.head in kept and r.tail in kept
            # what is above the lowest is all there is; rounded, its score may equal it
            and (r.score > self.relation[r.type] or self.relation[r.type] == lowest)
        )  # fmt: skip
        if len(entities) == len(document.entities) and len(relations) == len(document.relations):
            return document
        return replace(document, entities=entities, relations=relations)
