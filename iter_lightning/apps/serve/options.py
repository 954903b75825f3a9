"""The limits of a server, each of which is also a command-line option."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from iter_lightning.extraction.extractor import MAX_TOKENS


class ServeOptions(BaseModel):
    """Limits of a server. Each field is also a command-line option (`max_batch` is `--max-batch`).

    Raises:
        pydantic.ValidationError: A value is outside its bounds.

    Example:
        >>> ServeOptions(queue=8).timeout
        60.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_batch: int = Field(
        default=128, ge=1, description="sentences (with --context document: documents) in one model call"
    )
    max_wait_ms: float = Field(
        default=5.0, ge=0, le=10_000, description="milliseconds that a request waits for others to share its call"
    )
    queue: int = Field(default=256, ge=1, description="open requests (being read, waiting or computed); more get 429")
    timeout: float = Field(
        default=60.0, gt=0, description="seconds from a request's header to its answer; later ones get 504"
    )
    header_timeout: float = Field(default=10.0, gt=0, description="seconds that a client may take to send a header")
    max_connections: int = Field(default=1000, ge=1, description="connections at a time; fewer if `ulimit -n` is low")
    max_body_bytes: int = Field(default=2**20, ge=1, description="bytes of a request's body")
    max_texts: int = Field(default=64, ge=1, description="texts of a request")
    max_characters: int = Field(default=100_000, ge=1, description="characters of a text")
    max_unit_characters: int = Field(
        default=20_000,
        ge=1,
        description="characters of a sentence (with --context document: of a document)",
    )
    max_entities: int = Field(
        default=128, ge=1, description="most probable entities that are kept of a window of the encoder"
    )
    max_relations: int = Field(default=1024, ge=1, description="most probable relations that are kept of a window")
    max_labels: int = Field(default=200, ge=1, description="labels of a request, of entities and relations together")
    max_label_characters: int = Field(
        default=500, ge=1, description="characters of a label; with a description, of both together"
    )
    least_link_threshold: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="lowest link threshold of a request; near 0 every pair of entities is a relation",
    )
    link_threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        exclude=True,
        description="link threshold of requests without one; default: the model's",
    )


class ServeCommand(ServeOptions):
    """The command line of `serve`: where, which model, and the limits. Each field is an option."""

    host: str = Field(default="127.0.0.1", description="address; 0.0.0.0 for all addresses of this machine")
    port: int = Field(default=8000, ge=0, le=65535, description="port; 0 for any free one")
    access_log: bool = Field(default=False, description="log each request")
    name: str | None = Field(
        default=None, description="name of the model in answers; default: the hub id or the folder's name"
    )
    language: str | None = Field(
        default=None, description="spaCy's code; none: only words are accepted; default: the model's, else en"
    )
    context: Literal["sentence", "document"] = Field(
        default="sentence", description="unit that the model reads; relations do not cross its borders"
    )
    backend: Literal["torch", "onnx"] = Field(default="torch", description="onnx: what `export --onnx` wrote")
    device: str | None = Field(default=None, description="torch's name; default: a GPU if there is one")
    precision: Literal["fp32", "bf16", "fp16", "int8"] = Field(
        default="fp32", description="others need a fast CPU or a GPU"
    )
    allow_slow: bool = Field(default=False, description="compute in --precision even if fp32 would be faster")
    threads: int | None = Field(default=None, ge=1, description="threads of the model; default: torch's choice")
    max_tokens: int = Field(MAX_TOKENS, ge=1, description="subwords of a batch of the model, about as many of a call")
