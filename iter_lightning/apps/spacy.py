"""The spaCy pipeline component `iter`: entities in `doc.spans` and `doc.ents`, relations in `doc._.relations`.

    nlp.add_pipe("iter", config={"labels": ["person", "company"], "relations": ["works for"]})
    nlp.add_pipe("iter", config={"model": "runs/mine/seed1"})

Where the package is installed, its entry point registers the component; elsewhere `import iter_lightning.apps.spacy`.
Add the component after everything that sets sentences, and after `ner` if you want both. Words are the tokens of the
Doc without white space. Sentences are those of the Doc (`doc.sents`), or those of spaCy's rules if it has none.

| place | content |
| --- | --- |
| `doc.spans["iter"]` | every entity, with its probability in `.attrs["scores"]` |
| `doc.ents` | of overlapping entities the longest, so of nested ones the outermost |
| `doc._.relations` | every relation as a `SpanRelation` |
| `doc.user_data["iter_relations"]` | the same as plain lists, as in `formats.docbin`, which are saved with the Doc |

With a `spans_key` other than `iter`, the key of the relations is `iter_relations:` and that key.

`nlp.pipe(n_process=2)` works on a CPU, with one thread per process; one process with all threads is about as fast.
Processes cannot share a GPU.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Self

from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.extraction.backends import BACKENDS
from iter_lightning.extraction.documents import CONTEXTS
from iter_lightning.extraction.extractor import MAX_TOKENS, Extractor
from iter_lightning.extraction.labels import Labels
from iter_lightning.extraction.splitting import NO_LANGUAGE
from iter_lightning.extraction.thresholds import Thresholds
from iter_lightning.io.atomic import whole_folder
from iter_lightning.model.names import DEFAULT, resolve_model

try:
    from spacy.language import Language
    from spacy.tokens import Doc
    from spacy.util import raise_error

    from iter_lightning.extraction.spacy_docs import SPANS_KEY, SpanRelation, annotate, relations_of, to_document
except ImportError as error:
    raise ConfigError("the component requires spaCy (pip install 'iter-lightning[spacy]')") from error

__all__ = ["IterComponent", "SpanRelation", "annotate", "relations_of", "to_document"]
ErrorHandler = Callable[[str, Any, list[Doc], Exception], Any]
_FILES = ("*.json", "*.safetensors", "*.model", "*.bin", "*.txt", "README.md", "onnx/*")
"""The files of a model's folder that are saved with the pipeline."""


if not Doc.has_extension("relations"):
    Doc.set_extension("relations", getter=relations_of)


@Language.factory("iter", assigns=["doc.spans", "doc.ents", "doc._.relations"], default_config={"thresholds": {}})
class IterComponent:
    """Finds entities and relations in Docs.

    The model is loaded at its first use, or by `nlp.initialize()`. A saved pipeline contains a copy of its model.

    Args:
        nlp: the pipeline.
        name: the component's name in the pipeline.
        model: run folder, model folder, hub id or the name of a ready model.
        context: `sentence`; or `document` to read a whole Doc at once, with relations across sentences.
        link_threshold: lambda; None is the model's own.
        thresholds: least probability by type, see `Extractor.__call__`.
        spans_key: key of the entities in `doc.spans`.
        overwrite_ents: whether entities replace those of `doc.ents` that they overlap.
        backend: `torch` or `onnx`.
        device: torch's name of the device; None is a GPU if there is one.
        max_tokens: subwords per batch.
        labels: entity types to look for if the model is open: names, or a map from names to descriptions; see
            `extraction.labels.Labels.of`. None are the model's own types.
        relations: relation types to look for: names, or a map from names to arguments and descriptions.

    Raises:
        ConfigError: an option has an unknown value, or another package uses `doc._.relations`.
        EncoderError: the folder does not contain a model.

    Example:
        >>> nlp = spacy.blank("en")  # doctest: +SKIP
        >>> nlp.add_pipe("iter", config={"model": "runs/mine/seed1", "context": "document"})  # doctest: +SKIP
        >>> nlp("Ada Lovelace was born in London.")._.relations  # doctest: +SKIP
    """

    def __init__(
        self, nlp: Language, name: str, model: str = DEFAULT, context: str = "sentence",
        link_threshold: float | None = None, thresholds: dict[str, float] | None = None, spans_key: str = SPANS_KEY,
        overwrite_ents: bool = True, backend: str = "torch", device: str | None = None, max_tokens: int = MAX_TOKENS,
        labels: Any = None, relations: Any = None,
    ) -> None:  # fmt: skip
        for option, value, allowed in (("context", context, CONTEXTS), ("backend", backend, BACKENDS)):
            if value not in allowed:
                raise ConfigError(f"{name}: {option}: expected one of {', '.join(allowed)}, found {value!r}")
        if Doc.get_extension("relations")[2] is not relations_of:
            raise ConfigError(f"{name}: another package has its own `doc._.relations`; both cannot be used together")
        if labels is not None:
            _asked(name, labels, relations)
        if Path(model).is_dir():
            resolve_model(model)
        self.name = name
        self.vocab = nlp.vocab
        self.model = model
        self.link_threshold, self.thresholds = link_threshold, dict(thresholds or {})
        self.asked_labels, self.asked_relations = labels, relations
        self.spans_key, self.overwrite_ents = spans_key, overwrite_ents
        self._options: dict[str, Any] = {
            "context": context, "backend": backend, "device": device, "max_tokens": max_tokens
        }  # fmt: skip
        self._extractor: Extractor | None = None
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None  # the folder of a model from bytes
        self._lock = Lock()
        self._pid = os.getpid()
        self._handle: ErrorHandler = raise_error

    @property
    def extractor(self) -> Extractor:
        """The model, loaded at the first use.

        Raises:
            EncoderError: there is no model.
            ConfigError: the model does not take one of the options.
        """
        with self._lock:
            self._restart_threads()
            if self._extractor is None:
                loaded = Extractor.from_pretrained(self.model, language=NO_LANGUAGE, **self._options)
                if self.asked_labels is not None or self.asked_relations is not None:
                    entities = loaded.schema.entity_types if self.asked_labels is None else self.asked_labels
                    loaded = loaded.bind(_asked(self.name, entities, self.asked_relations))
                Thresholds.of(loaded.backend, self.link_threshold, self.thresholds)
                for label in loaded.schema.entity_types:  # must outlive any memory zone
                    self.vocab.strings.add(label, allow_transient=False)  # type: ignore[call-arg]
                self._extractor = loaded
            return self._extractor

    def _restart_threads(self) -> None:
        """In a forked process, do not wait for thread pools, which do not survive the fork."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        if self._options["backend"] == "torch":
            import torch

            torch.set_num_threads(1)
        else:
            self._extractor = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The entity types; empty until the model is loaded."""
        return () if self._extractor is None else self._extractor.schema.entity_types

    def initialize(self, get_examples: Any = None, *, nlp: Language | None = None) -> None:
        """Load the model."""
        _ = self.extractor

    def __call__(self, doc: Doc) -> Doc:
        """Annotate one Doc."""
        (doc,) = self._annotate([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate Docs in order, in batches. A Doc that fails goes to the error handler and is left out."""
        _ = self.extractor  # a missing model is not the fault of a Doc
        docs = iter(stream)
        while batch := list(islice(docs, batch_size)):
            try:
                annotated = self._annotate(batch)
            except Exception:  # find out which Docs fail
                annotated = list(self._annotate_each(batch))
            yield from annotated

    def _annotate(self, docs: Sequence[Doc]) -> list[Doc]:
        documents = self.extractor([to_document(doc) for doc in docs], self.link_threshold, self.thresholds)
        return [
            annotate(doc, document, self.spans_key, self.overwrite_ents)
            for doc, document in zip(docs, documents, strict=True)
        ]

    def _annotate_each(self, docs: Sequence[Doc]) -> Iterator[Doc]:
        for doc in docs:
            try:
                yield from self._annotate([doc])
            except Exception as error:
                self._handle(self.name, self, [doc], error)

    def set_error_handler(self, error_handler: ErrorHandler) -> None:
        """Set the function that is called with Docs that fail; `nlp.set_error_handler` calls this method."""
        self._handle = error_handler

    def get_error_handler(self) -> ErrorHandler:
        """Return the function that is called with Docs that fail."""
        return self._handle

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Copy the files of the model to `path`/model. The options are saved in the configuration of the pipeline.

        Raises:
            EncoderError: the model's folder does not exist any more.
        """
        source, target = resolve_model(self.model), Path(path) / "model"
        if source.resolve() != target.resolve():
            with whole_folder(target) as part:
                for file in _model_files(source):
                    (part / file).parent.mkdir(exist_ok=True)
                    shutil.copy(source / file, part / file)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Self:
        """Load the model in `path`/model, if one was saved there."""
        folder = Path(path) / "model"
        return self._load(str(folder), None) if folder.is_dir() else self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Return the files of the model as a zip archive."""
        source, buffer = resolve_model(self.model), BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for file in _model_files(source):
                archive.write(source / file, file)
        return buffer.getvalue()

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> Self:
        """Load the model from the bytes of `to_bytes`.

        Raises:
            EncoderError: the bytes or the model in them are damaged.
        """
        folder = tempfile.TemporaryDirectory(prefix="iter_")
        try:
            with zipfile.ZipFile(BytesIO(data)) as archive:
                archive.extractall(folder.name)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
            raise EncoderError(f"{self.name}: the saved model cannot be unpacked: {error}") from error
        return self._load(folder.name, folder)

    def _load(self, model: str, unpacked: tempfile.TemporaryDirectory[str] | None) -> Self:
        self.model, self._extractor, self._unpacked = model, None, unpacked
        self.initialize()
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the loaded model: another process loads its own."""
        return {**self.__dict__, "_extractor": None, "_lock": None, "_unpacked": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()


def _asked(name: str, labels: Any, relations: Any) -> Labels:
    """Return the labels of the options.

    Raises:
        ConfigError: they are not valid; names the component.
    """
    try:
        return Labels.of(labels, relations)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def _model_files(folder: Path) -> list[Path]:
    """Return the files to save, relative to the folder."""
    return sorted({file.relative_to(folder) for pattern in _FILES for file in folder.glob(pattern) if file.is_file()})
