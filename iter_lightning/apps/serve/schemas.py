"""The JSON of requests and answers, as OpenAPI describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from iter_lightning.apps.serve.options import ModelInfo, Origin, ServeOptions

Probability = Annotated[float, Field(ge=0, le=1)]
Word = Annotated[str, Field(min_length=1)]
CODES: Mapping[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is not JSON or not UTF-8, or holds half of a surrogate pair."),
    "not_found": (404, "The path does not exist."),
    "method_not_allowed": (405, "The path does not support the method."),
    "body_timeout": (408, "The body did not arrive in time."),
    "body_too_large": (413, "The body is over the size limit."),
    "too_many_texts": (413, "The request holds too many texts."),
    "text_too_long": (413, "A text, or a sentence of it, is over the size limit."),
    "unsupported_media_type": (415, "The body is not declared as application/json in UTF-8 without compression."),
    "invalid_request": (422, "A field is missing, unknown or has an invalid value; the message names it."),
    "queue_full": (429, "The request queue is full. Retry after the number of seconds in `Retry-After`."),
    "extraction_failed": (500, "The model failed on this request."),
    "internal_error": (500, "The server failed."),
    "model_broken": (500, "The model has stopped working; the server must be restarted."),
    "not_ready": (503, "The server is starting or stopping, or the model does not work."),
    "timeout": (504, "The result was not ready in time; the work on it was stopped."),
}
"""Code of an error -> status and meaning."""


class ApiError(Exception):
    """An answer `{"error": {"code", "message"}}` with the status of its code."""

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.status, self.headers = code, CODES[code][0], dict(headers or {})

    def response(self) -> JSONResponse:
        """Return the answer."""
        content = {"error": {"code": self.code, "message": str(self)}}
        return JSONResponse(content, status_code=self.status, headers=self.headers)


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    def _exactly_one(self, *names: str) -> None:
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise PydanticCustomError("one_of", f"expected exactly one of the fields {', '.join(names)}")


class InputDocument(_Request):
    """A text that the server splits, or sentences that are lists of words."""

    id: str = ""
    text: str | None = None
    words: list[list[Word]] | None = None

    @model_validator(mode="after")
    def _check(self) -> InputDocument:
        self._exactly_one("text", "words")
        return self


class ExtractRequest(_Request):
    """A text, several texts, or several documents with ids and words of the caller's own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "Ada Lovelace was born in London."},
                {"texts": ["Ada lives in London.", "Bo works for the Bank of Oslo."]},
                {"documents": [{"id": "a", "text": "Ada met Bo."}, {"words": [["Bo", "works", "."]]}]},
            ]
        }
    )
    text: str | None = None
    texts: list[str] | None = None
    documents: list[InputDocument] | None = None
    link_threshold: Probability | None = Field(default=None, description="Least probability of a relation.")
    thresholds: dict[str, Probability] | None = Field(
        default=None, description="Least probability by entity or relation type; the latter replaces `link_threshold`."
    )

    @model_validator(mode="after")
    def _check(self) -> ExtractRequest:
        self._exactly_one("text", "texts", "documents")
        return self

    def inputs(self) -> list[tuple[str, InputDocument]]:
        """Return the documents, each with its place in the request."""
        if self.text is not None:
            return [("text", InputDocument.model_construct(text=self.text))]
        if self.texts is not None:
            return [(f"texts[{n}]", InputDocument.model_construct(text=text)) for n, text in enumerate(self.texts)]
        return [(f"documents[{number}]", document) for number, document in enumerate(self.documents or ())]


class Entity(BaseModel):
    """A typed span; offsets count characters (Unicode code points) from 0, the end is exclusive."""

    start: int = Field(ge=0)
    end: int = Field(ge=1)
    type: str
    text: str
    score: Probability


class Relation(BaseModel):
    """A typed, directed link; `head` and `tail` are indices into the document's list of entities."""

    head: int = Field(ge=0)
    tail: int = Field(ge=0)
    type: str
    score: Probability


class OutputDocument(BaseModel):
    """The entities and relations of one text; `sentences` and `words` are `[start, end)` in characters."""

    id: str
    text: str
    entities: list[Entity]
    relations: list[Relation]
    sentences: list[tuple[int, int]]
    words: list[tuple[int, int]]
    truncated: bool = Field(default=False, description="Whether `max_entities` or `max_relations` left something out.")


class ExtractResponse(BaseModel):
    """One document for each text, in order."""

    documents: list[OutputDocument]
    model: Origin


class ModelResponse(ModelInfo):
    """The model, its types, and the limits of the server."""

    types: dict[str, list[str]] = Field(alias="schema", description="Entity and relation types that the model finds.")
    link_threshold: float = Field(description="Link threshold of requests without one.")
    context: Literal["sentence", "document"]
    language: str | None = Field(description="spaCy's code; null: documents must come with their words.")
    limits: ServeOptions
    versions: dict[str, str]


class Error(BaseModel):
    """An error of a request or of one of its texts."""

    code: Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(CODES)})]
    message: str


class ErrorResponse(BaseModel):
    """The answer to a request without a result."""

    error: Error
