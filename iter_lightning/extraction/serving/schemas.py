"""The bodies of requests and answers, as OpenAPI tells them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, WithJsonSchema

from iter_lightning.extraction.serving.failures import CODES

TAGS = ("<text>", "<texts>", "<documents>", "<words>")
"""Pydantic puts the name of a union's member into the place of a fault; these are taken out again."""

Probability = Annotated[float, Field(ge=0, le=1)]
Word = Annotated[str, Field(min_length=1)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Options(_Request):
    link_threshold: Probability | None = Field(
        default=None, description="Least probability of a relation; the model's own where it is not given."
    )
    thresholds: dict[str, Probability] | None = Field(
        default=None, description="Least probability by entity or relation type; a relation type's replaces the above.",
        examples=[{"Per": 0.8, "LiveIn": 0.3}],
    )  # fmt: skip


class TextDocument(_Request):
    """A text that the server splits into words and sentences."""

    id: str = ""
    text: str


class WordsDocument(_Request):
    """A text that is split already: its sentences, each a list of words."""

    id: str = ""
    words: list[list[Word]]


def _document_tag(value: Any) -> str | None:
    return _only(value, ("text", "words"))


def _request_tag(value: Any) -> str | None:
    return _only(value, ("text", "texts", "documents"))


def _only(value: Any, names: tuple[str, ...]) -> str | None:
    found = [name for name in names if name in value] if isinstance(value, dict) else []
    return f"<{found[0]}>" if len(found) == 1 else None


InputDocument = Annotated[
    Annotated[TextDocument, Tag("<text>")] | Annotated[WordsDocument, Tag("<words>")],
    Discriminator(
        _document_tag, custom_error_type="one_of", custom_error_message="expected exactly one of the fields text, words"
    ),
]


class TextRequest(_Options):
    """One text."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Ada Lovelace was born in London."}]})
    text: str


class TextsRequest(_Options):
    """Several texts."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"texts": ["Ada lives in London.", "Bo works for the Bank of Oslo."]}]}
    )
    texts: list[str]


class DocumentsRequest(_Options):
    """Several documents, with names and words of the caller's own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "documents": [
                        {"id": "a", "text": "Ada lives in London."},
                        {"id": "b", "words": [["Bo", "works", "."], ["Ada", "does", "n't", "."]]},
                    ],
                    "link_threshold": 0.4,
                }
            ]
        }
    )
    documents: list[InputDocument]


ExtractRequest = Annotated[
    Annotated[TextRequest, Tag("<text>")]
    | Annotated[TextsRequest, Tag("<texts>")]
    | Annotated[DocumentsRequest, Tag("<documents>")],
    Discriminator(
        _request_tag, custom_error_type="one_of",
        custom_error_message="expected exactly one of the fields text, texts, documents",
    ),
]  # fmt: skip
REQUEST: TypeAdapter[TextRequest | TextsRequest | DocumentsRequest] = TypeAdapter(ExtractRequest)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Entity(_Answer):
    """A typed span; offsets count characters (Unicode code points) from 0, the end is exclusive."""

    start: int = Field(ge=0)
    end: int = Field(ge=1)
    type: str
    text: str
    score: Probability


class Relation(_Answer):
    """A typed, directed link; `head` and `tail` are places in the document's list of entities."""

    head: int = Field(ge=0)
    tail: int = Field(ge=0)
    type: str
    score: Probability


class OutputDocument(_Answer):
    """What was found in one text; `sentences` and `words` are `[start, end)` in characters."""

    id: str
    text: str
    entities: list[Entity]
    relations: list[Relation]
    sentences: list[tuple[int, int]]
    words: list[tuple[int, int]]


class Origin(_Answer):
    """The model that answered."""

    name: str
    digest: str = Field(description="sha256 of its configuration and weights; empty where it is unknown.")


class ExtractResponse(_Answer):
    """One document for each text, in order."""

    documents: list[OutputDocument]
    model: Origin


class Types(_Answer):
    """What the model can find."""

    entity_types: list[str]
    relation_types: list[str]
    symmetric: list[str]


class Limits(_Answer):
    """What a request may be."""

    max_body_bytes: int
    max_characters: int
    max_unit_characters: int
    max_texts: int
    least_link_threshold: float
    queue: int
    timeout: float
    max_batch: int
    max_wait_ms: float


class ModelResponse(Origin):
    """The model, what it finds, and how it is served."""

    types: Types = Field(alias="schema")
    link_threshold: float = Field(description="Lambda of requests that name none.")
    context: Literal["sentence", "document"]
    language: str | None = Field(description="spaCy's code; null: documents must come with their words.")
    backend: str
    device: str
    precision: str
    kernels: str = Field(description="What computes: library, processor, kernels.")
    limits: Limits
    versions: dict[str, str]


class State(_Answer):
    """How the server is."""

    status: Literal["live", "ready"]


class Error(_Answer):
    """Why there is no result."""

    code: Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(CODES)})]
    message: str


class ErrorResponse(_Answer):
    """What every answer holds that is no result."""

    error: Error
