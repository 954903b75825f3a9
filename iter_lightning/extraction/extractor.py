"""Apply a trained model to texts with `Extractor`."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

from iter_lightning.errors import ConfigError, TextError
from iter_lightning.extraction.backend import Backend
from iter_lightning.extraction.documents import CONTEXTS, Context, Document
from iter_lightning.extraction.grouping import grouped
from iter_lightning.extraction.splitting import Splitter, resolve_language
from iter_lightning.extraction.thresholds import Thresholds
from iter_lightning.model.names import resolve_model
from iter_lightning.types import NO_LIMITS, Example, Prediction, Schema, WindowLimits, surrogate_fault

if TYPE_CHECKING:
    from iter_lightning.model.inference import InferenceOptions
    from iter_lightning.model.iter import IterModel

BackendName = Literal["torch", "onnx"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)
MAX_TOKENS = 4096
"""Default number of padded subwords in a batch."""
_DOCUMENTS, _CHARACTERS = 2048, 250_000
"""Size of the groups in which a stream is processed: a number of documents, or fewer if they have enough characters."""


@dataclass(frozen=True)
class TorchBackend:
    """Run an `IterModel` on its device, after `model.inference.prepare`."""

    model: IterModel
    kernels: str = "torch"

    @property
    def schema(self) -> Schema:
        """Return the types of the model."""
        return self.model.config.schema

    @property
    def link_threshold(self) -> float:
        """Return the link threshold (lambda) that is stored in the model."""
        return self.model.config.link_threshold

    @classmethod
    def load(cls, folder: Path, device: str | None, options: InferenceOptions | None) -> TorchBackend:
        """Load a model onto a device and optimize it for inference.

        Args:
            folder: Model folder.
            device: Device in torch's notation. None means a GPU if one is available, else the CPU.
            options: Precision and compilation.

        Raises:
            ConfigError: If torch or the device is missing, or if the device does not support the precision efficiently.
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
        except (RuntimeError, AssertionError) as error:  # torch raises these if the device does not exist
            raise ConfigError(f"device {device!r}: {str(error).splitlines()[0]}") from error
        check_precision(options.precision, place, options.allow_slow)
        model = prepare(IterModel.from_pretrained(folder).to(place), options)
        return cls(model, describe(options.precision, place, options.compile))

    def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
        """Yield predictions; see `Backend.predict`."""
        from iter_lightning.model.pipeline import stream

        return stream(self.model, examples, None, link_threshold=link_threshold, max_tokens=max_tokens)


class Extractor:
    """Extract entities and relations from texts.

    Args:
        backend: Model that computes predictions.
        splitter: Splits texts into words and sentences. It may be None if all documents have words.
        context: Unit that the model reads at once. With `sentence`, sentences are independent. With `document`,
            relations may cross sentences; documents longer than the encoder's input are read in overlapping windows,
            and relations are found between entities of the same window.
        max_tokens: Largest number of padded subwords in a batch.

    Raises:
        ConfigError: If `context` or `max_tokens` is not valid.

    Example:
        >>> extractor = Extractor.from_pretrained("runs/conll04/seed1")  # doctest: +SKIP
        >>> document = extractor("Ada Lovelace worked for Acme in London.")  # doctest: +SKIP
        >>> [(entity.text, entity.type) for entity in document.entities]  # doctest: +SKIP
        [('Ada Lovelace', 'Peop'), ('Acme', 'Org'), ('London', 'Loc')]
    """

    def __init__(
        self, backend: Backend, splitter: Splitter | None, context: Context = "sentence", max_tokens: int = MAX_TOKENS
    ) -> None:
        if context not in CONTEXTS:
            raise ConfigError(f"context {context!r} is not valid; expected one of {', '.join(CONTEXTS)}")
        if max_tokens < 1:
            raise ConfigError(f"max_tokens must be at least 1, found {max_tokens}")
        self.backend = backend
        self.splitter = splitter
        self.context = context
        self.max_tokens = max_tokens

    @classmethod
    def from_pretrained(
        cls, model: str | Path, *, language: str | None = None, context: Context = "sentence",
        device: str | None = None, options: InferenceOptions | None = None, backend: BackendName = "torch",
        max_tokens: int = MAX_TOKENS, limits: WindowLimits = NO_LIMITS,
    ) -> Extractor:  # fmt: skip
        """Load a model from a run folder, a model folder, or the hub.

        Args:
            model: Name of the model; see `model.names.resolve_model`.
            language: spaCy's code for the language of the texts. None means the language of the model, or English if it
                has none. "none" means that all documents have words.
            context: See `Extractor`.
            device: Device in torch's notation. None means a GPU if one is available, else the CPU.
            options: Precision and compilation, for the torch backend.
            backend: `torch`, or `onnx` for models written by `export --onnx`.
            max_tokens: See `Extractor`.
            limits: Entities and relations to keep of a window. `Document.truncated` reports that there were more.

        Returns:
            An extractor with the loaded model.

        Raises:
            ConfigError: If an option is not valid, or not supported by the backend.
            EncoderError: If the model does not exist or cannot be loaded.
        """
        if backend not in BACKENDS:
            raise ConfigError(f"backend {backend!r} is not valid; expected one of {', '.join(BACKENDS)}")
        folder = resolve_model(model)
        language = resolve_language(language, folder)
        splitter = None if language is None else Splitter(language)
        loaded: Backend
        if backend == "onnx":
            if device not in (None, "cpu") or options is not None:
                raise ConfigError(
                    "the onnx backend runs on a CPU and takes no options; `export --onnx` sets its precision"
                )
            loaded = replace(onnx_backend().from_pretrained(folder), limits=limits)
        else:
            loaded = TorchBackend.load(folder, device, options)
            loaded.model.limits = limits
        return cls(loaded, splitter, context, max_tokens)

    @property
    def schema(self) -> Schema:
        """Return the types of the model."""
        return self.backend.schema

    @property
    def kernels(self) -> str:
        """Return a one-line description of the kernels in use, for reports."""
        return self.backend.kernels

    @overload  # for type checkers, a string is also a sequence of strings
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
        """Extract from one text, from a list of texts, or lazily from a stream of texts.

        Args:
            texts: Strings, or documents that have words (see `Document.from_words`).
            link_threshold: Link threshold (lambda) in [0, 1]. None means the value stored in the model.
            thresholds: Smallest probability for some types, in [0, 1]. Entities below the threshold of their type are
                removed together with their relations. The threshold of a relation type replaces lambda.

        Returns:
            One document for one text, a list for a sequence, and an iterator for any other iterable.

        Raises:
            ConfigError: If a threshold is outside [0, 1] or names an unknown type, if a text needs a splitter, or if an
                item is neither a string nor a document.
            TextError: If UTF-8 cannot encode a text. For a text or a list, it is raised before any work starts. A
                stream raises it in place of the document, and continues with the next one.
        """
        limits = Thresholds.of(self.backend, link_threshold, thresholds)
        if isinstance(texts, (str, Document)):
            return next(_Results(self._extract(_readable([texts]), limits)))
        if isinstance(texts, Sequence):
            return list(_Results(self._extract(_readable(texts), limits)))
        return _Results(self._extract(_documents(texts), limits))

    def _extract(self, documents: Iterable[Document | TextError], limits: Thresholds) -> Iterator[Document | TextError]:
        """Yield the documents with predictions. Errors keep their positions."""
        # process groups of documents, so that memory is bounded and batches are well filled
        for group in grouped(documents, _length, _CHARACTERS, _DOCUMENTS):
            split = self._split([document for document in group if isinstance(document, Document)])
            examples = (example for document in split for example in document.examples(self.context))
            predictions = self.backend.predict(examples, limits.lowest_link, self.max_tokens)
            readable = iter(split)
            for item in group:
                if isinstance(item, TextError):
                    yield item
                    continue
                document = next(readable)
                read = list(islice(predictions, len(document.units(self.context))))
                yield limits.apply(document.with_predictions(read, self.context))
            next(predictions, None)  # let the backend finish its generator and free its buffers

    def _split(self, documents: Sequence[Document]) -> Sequence[Document]:
        if self.splitter is not None:
            return self.splitter(documents)
        if any(not document.words and document.text.strip() for document in documents):
            raise ConfigError("text without words: set the language of the extractor, or pass documents with words")
        return documents


class _Results(Iterator[Document]):
    """Iterate over documents, raising each `TextError` at its position and then continuing."""

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
    """Convert texts to documents, or raise the first `TextError`."""
    documents = list(_documents(texts))
    for document in documents:
        if isinstance(document, TextError):
            raise document
    return documents


def _length(item: Document | TextError) -> int:
    return len(item.text) if isinstance(item, Document) else 0


def onnx_backend() -> Any:
    """Return the class `OnnxBackend`: a plug-in of a level above this one, found by its name."""
    return pkgutil.resolve_name("iter_lightning.apps.onnx:OnnxBackend")


def check_torch() -> None:
    """Raise `ConfigError` if torch is not installed."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the torch backend needs torch; --backend onnx runs models written by `export --onnx` without it"
        ) from error
