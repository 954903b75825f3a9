"""The JSON of requests, answers and errors. FastAPI checks requests against it, and OpenAPI describes it."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from fastapi.exceptions import HTTPException
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from iter_lightning.apps.serve.options import ServeOptions
from iter_lightning.extraction.formats.support.base import printable

Probability = Annotated[float, Field(ge=0, le=1)]
Word = Annotated[str, Field(min_length=1)]
_Names: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
_Argument: dict[str, Any] = {"anyOf": [{"type": "string"}, _Names, {"type": "null"}]}
_Relation: dict[str, Any] = {
    "type": "object", "additionalProperties": False,
    "properties": {
        "description": {"type": ["string", "null"]}, "head": _Argument, "tail": _Argument,
        "symmetric": {"type": "boolean"},
    },
}  # fmt: skip
_Pair: dict[str, Any] = {"type": "array", "minItems": 2, "maxItems": 2, "items": _Argument}
EntityLabels = Annotated[
    Any, WithJsonSchema({"anyOf": [_Names, {"type": "object", "additionalProperties": {"type": ["string", "null"]}}]})
]
"""What `Labels.of` takes and checks."""
RelationLabels = Annotated[
    Any,
    WithJsonSchema({
        "anyOf": [
            _Names,
            {"type": "object", "additionalProperties": {"anyOf": [{"type": ["string", "null"]}, _Pair, _Relation]}},
        ]
    }),
]  # fmt: skip
ERRORS: Mapping[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is not JSON in UTF-8."),
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
_SHOWN_ERRORS = 3
_MOST_ERRORS = 1000
"""Errors that are described: each takes a kilobyte, and a body of a megabyte can hold half a million."""
_LONGEST_MESSAGE = 2000
_Model = TypeVar("_Model", bound=BaseModel)


class ApiError(HTTPException):
    """An answer `{"error": {"code", "message"}}` with the status of its code."""

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        cut = message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."
        super().__init__(ERRORS[code][0], printable(cut), headers)
        self.code = code


def invalid_request(errors: Sequence[Any]) -> ApiError:
    """Return an answer that names the first errors FastAPI found in a body, each with its place and its value."""
    if errors[0]["type"] == "json_invalid":
        return ApiError("malformed_json", f"body: character {errors[0]['loc'][1]}: {errors[0]['ctx']['error']}")
    lines = []
    for error in errors[:_SHOWN_ERRORS]:
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in error["loc"][1:])
        lines.append(f"{''.join(steps)[1:] or 'body'}: {error['msg']}, found {reprlib.repr(error['input'])}")
    if len(errors) > _SHOWN_ERRORS:
        lines.append(f"and {len(errors) - _SHOWN_ERRORS} more")
    return ApiError("invalid_request", "; ".join(lines))


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

    labels: EntityLabels = Field(
        default=None,
        description="Entity types to look for if the model is open: names, or names with descriptions (or null).",
    )
    relations: RelationLabels = Field(
        default=None,
        description="Relation types to look for: names, or names with the types of head and tail, a description, or "
        "an object with both.",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _few_errors(cls, data: Any, handler: ModelWrapValidatorHandler[_Model]) -> _Model:
        try:
            return handler(data)
        except ValidationError as error:
            if error.error_count() <= _MOST_ERRORS:
                raise
            raise PydanticCustomError("many_errors", f"{error.error_count():,} errors") from None

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
        return [(f"documents[{n}]", document) for n, document in enumerate(self.documents or ())]


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


class Origin(BaseModel):
    """The model that answered."""

    name: str
    digest: str = Field(default="", description="sha256 of its configuration and weights; empty if unknown")


class ExtractResponse(BaseModel):
    """One document for each text, in order."""

    documents: list[OutputDocument]
    model: Origin


class ModelInfo(Origin):
    """The model that a server serves."""

    backend: str = "torch"
    device: str = "cpu"
    precision: str = "fp32"
    kernels: str = Field(default="", description="library, processor and kernels that compute")


class ModelResponse(ModelInfo):
    """The model, its types, and the limits of the server."""

    types: dict[str, list[str]] = Field(alias="schema", description="Entity and relation types that the model finds.")
    open: bool = Field(description="Whether requests may ask for other types with `labels` and `relations`.")
    link_threshold: float = Field(description="Link threshold of requests without one.")
    context: Literal["sentence", "document"]
    language: str | None = Field(description="spaCy's code; null: documents must come with their words.")
    limits: ServeOptions
    versions: dict[str, str]


class Error(BaseModel):
    """An error of a request or of one of its texts."""

    code: Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(ERRORS)})]
    message: str


class ErrorResponse(BaseModel):
    """The answer to a request without a result."""

    error: Error
