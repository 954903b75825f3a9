"""The spaCy pipeline component `iter`: entities in `doc.spans` and `doc.ents`, relations in `doc._.relations`.

    import iter_lightning.apps.spacy  # not needed where the package is installed: its entry point registers it
    nlp.add_pipe("iter", config={"model": "runs/mine/seed1"})

The words are the Doc's own tokens without those of white space, the sentences its own (`doc.sents`) or, where nothing
has set any, spaCy's rule-based ones. It goes after whatever sets sentences, and after `ner`, if both are wanted.

`doc.spans["iter"]`: every entity; `.attrs["scores"]` has a probability for each.
`doc.ents`: of overlapping entities the longest, so for nested ones the outermost.
`doc.user_data["iter_relations"]`: lists of start, end and label of the head, the same of the tail (in tokens), type
and score, as `formats.docbin` has them; they survive `to_bytes` and `DocBin(store_user_data=True)`.
`doc._.relations` makes `SpanRelation`s of them. Another `spans_key` than `iter` is put behind that key, after a colon.

`nlp.pipe(n_process=2)` works on a CPU, each process with one thread; one process with all threads is about as fast. A
GPU cannot be shared this way.
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
from iter_lightning.extraction.documents import CONTEXTS
from iter_lightning.extraction.extractor import BACKENDS, MAX_TOKENS, Extractor, Thresholds, model_folder
from iter_lightning.extraction.splitting import NO_LANGUAGE

try:
    from spacy.language import Language
    from spacy.tokens import Doc
    from spacy.util import raise_error

    from iter_lightning.extraction.spacy_docs import SPANS_KEY, SpanRelation, annotate, relations_of, to_document
except ImportError as error:
    raise ConfigError("the component needs spaCy (pip install 'iter-lightning[spacy]')") from error

__all__ = ["IterComponent", "SpanRelation", "annotate", "make_iter", "relations_of", "to_document"]
ErrorHandler = Callable[[str, Any, list[Doc], Exception], Any]
_FILES = ("*.json", "*.safetensors", "*.model", "*.bin", "*.txt", "README.md", "onnx/*")
"""What of a model's folder goes with the pipeline."""


if not Doc.has_extension("relations"):
    Doc.set_extension("relations", getter=relations_of)


@Language.factory(
    "iter",
    assigns=["doc.spans", "doc.ents", "doc._.relations"],
    default_config={
        "context": "sentence", "link_threshold": None, "thresholds": {}, "spans_key": SPANS_KEY, "overwrite_ents": True,
        "backend": "torch", "device": None, "max_tokens": MAX_TOKENS,
    },
)  # fmt: skip
def make_iter(
    nlp: Language, name: str, model: str, context: str, link_threshold: float | None, thresholds: dict[str, float],
    spans_key: str, overwrite_ents: bool, backend: str, device: str | None, max_tokens: int,
) -> IterComponent:  # fmt: skip
    """The factory `iter`; see `IterComponent`."""
    return IterComponent(
        nlp, name, model, context=context, link_threshold=link_threshold, thresholds=thresholds, spans_key=spans_key,
        overwrite_ents=overwrite_ents, backend=backend, device=device, max_tokens=max_tokens,
    )  # fmt: skip


class IterComponent:
    """Finds entities and relations in Docs.

    The model is loaded when it is first needed, or by `nlp.initialize()`: a pipeline that was saved brings its own
    along, wherever that of its configuration was.

    Args:
        nlp, name: the pipeline, and what it calls the component.
        model: run folder, model folder or hub id.
        context: `sentence`, or `document`: all of a Doc at once, with relations across sentences.
        link_threshold, thresholds: see `Extractor.__call__`.
        spans_key, overwrite_ents: see `annotate`.
        backend, device, max_tokens: see `Extractor.from_pretrained`.

    Raises:
        ConfigError: an option that is none, or a folder that holds no model.
    """

    def __init__(
        self, nlp: Language, name: str, model: str, *, context: str = "sentence", link_threshold: float | None = None,
        thresholds: dict[str, float] | None = None, spans_key: str = SPANS_KEY, overwrite_ents: bool = True,
        backend: str = "torch", device: str | None = None, max_tokens: int = MAX_TOKENS,
    ) -> None:  # fmt: skip
        for option, value, allowed in (("context", context, CONTEXTS), ("backend", backend, BACKENDS)):
            if value not in allowed:
                raise ConfigError(f"{name}: {option} {value!r} is none of {', '.join(allowed)}")
        if Doc.get_extension("relations")[2] is not relations_of:
            raise ConfigError(f"{name}: another package has its own `doc._.relations`; both cannot be used together")
        self.name = name
        self.vocab = nlp.vocab
        self.model = str(model)
        if Path(self.model).is_dir():
            _model_folder(self.model)
        self.link_threshold, self.thresholds = link_threshold, dict(thresholds or {})
        self.spans_key, self.overwrite_ents = spans_key, overwrite_ents
        self._how: dict[str, Any] = {
            "context": context, "backend": backend, "device": device, "max_tokens": max_tokens
        }  # fmt: skip
        self._extractor: Extractor | None = None
        self._held: tempfile.TemporaryDirectory[str] | None = None  # of a model that came as bytes
        self._lock = Lock()
        self._pid = os.getpid()
        self._handle: ErrorHandler = raise_error

    @property
    def extractor(self) -> Extractor:
        """The loaded model.

        Raises:
            EncoderError: there is none.
            ConfigError: an option that it does not take.
        """
        with self._lock:
            self._after_fork()
            if self._extractor is None:
                loaded = Extractor.from_pretrained(self.model, language=NO_LANGUAGE, **self._how)
                Thresholds.of(loaded.backend, self.link_threshold, self.thresholds)
                for label in loaded.schema.entity_types:  # outlives any memory zone
                    self.vocab.strings.add(label, allow_transient=False)  # type: ignore[call-arg]
                self._extractor = loaded
            return self._extractor

    def _after_fork(self) -> None:
        """Thread pools do not survive a fork: who waits for theirs, waits forever."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        if self._how["backend"] == "torch":
            import torch

            torch.set_num_threads(1)
        else:
            self._extractor = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Entity types, as soon as the model is loaded."""
        return () if self._extractor is None else self._extractor.schema.entity_types

    @property
    def relation_labels(self) -> tuple[str, ...]:
        """Relation types, as soon as the model is loaded."""
        return () if self._extractor is None else self._extractor.schema.relation_types

    def initialize(self, get_examples: Any = None, *, nlp: Language | None = None) -> None:
        """Load the model."""
        _ = self.extractor

    def __call__(self, doc: Doc) -> Doc:
        """Annotate one Doc."""
        (doc,) = self._read([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate Docs in order, many at once; one that fails goes to the error handler and is left out."""
        _ = self.extractor  # a model that is missing is no fault of a Doc
        docs = iter(stream)
        while some := list(islice(docs, batch_size)):
            try:
                done = self._read(some)
            except Exception:  # whatever it is, it is the handler's; which Doc it is of is found out one by one
                done = self._read_apart(some)
            yield from done

    def _read(self, docs: Sequence[Doc]) -> list[Doc]:
        documents = self.extractor([to_document(doc) for doc in docs], self.link_threshold, self.thresholds)
        return [
            annotate(doc, document, self.spans_key, self.overwrite_ents)
            for doc, document in zip(docs, documents, strict=True)
        ]

    def _read_apart(self, docs: Sequence[Doc]) -> list[Doc]:
        done = []
        for doc in docs:
            try:
                done += self._read([doc])
            except Exception as error:
                self._handle(self.name, self, [doc], error)
        return done

    def set_error_handler(self, error_handler: ErrorHandler) -> None:
        """What is called with the Docs that fail; `nlp.set_error_handler` calls it."""
        self._handle = error_handler

    def get_error_handler(self) -> ErrorHandler:
        """What is called with the Docs that fail."""
        return self._handle

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Copy the model's files into `path`/model; the options are in the pipeline's own configuration.

        Raises:
            EncoderError: the model's folder is gone.
        """
        from iter_lightning.files import whole_folder

        source, target = _model_folder(self.model), Path(path) / "model"
        if source.resolve() != target.resolve():
            with whole_folder(target) as part:
                for file in _model_files(source):
                    (part / file).parent.mkdir(exist_ok=True)
                    shutil.copy(source / file, part / file)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Self:
        """Load the model in `path`/model, if one was saved there."""
        folder = Path(path) / "model"
        if folder.is_dir():
            self.model, self._extractor, self._held = str(folder), None, None
            self.initialize()
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """The model's files, as a zip archive."""
        source, buffer = _model_folder(self.model), BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for file in _model_files(source):
                archive.write(source / file, file)
        return buffer.getvalue()

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> Self:
        """Load the model of `to_bytes`.

        Raises:
            EncoderError: the bytes are damaged, or the model in them is.
        """
        held = tempfile.TemporaryDirectory(prefix="iter_")
        try:
            with zipfile.ZipFile(BytesIO(data)) as archive:
                archive.extractall(held.name)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
            raise EncoderError(f"{self.name}: the saved model cannot be unpacked: {error}") from error
        self.model, self._extractor, self._held = held.name, None, held
        self.initialize()
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Without the loaded model: another process loads its own."""
        return {**self.__dict__, "_extractor": None, "_lock": None, "_held": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()


def _model_folder(model: str) -> Path:
    """Where the model's files are.

    Raises:
        EncoderError: nowhere.
    """
    folder = model_folder(model)
    if not (folder / "config.json").is_file():
        raise EncoderError(f"no ITER model in {folder}: config.json missing")
    return folder


def _model_files(folder: Path) -> list[Path]:
    """Relative to the folder."""
    return sorted({file.relative_to(folder) for pattern in _FILES for file in folder.glob(pattern) if file.is_file()})
