"""The limits of a server and the description of the model it serves."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ServeOptions(BaseModel):
    """Limits of a server. Each field is also a command-line option (`max_batch` is `--max-batch`).

    Raises:
        pydantic.ValidationError: A value is outside its bounds.

    Example:
        >>> ServeOptions(queue=8).timeout
        60.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_batch: int = Field(128, ge=1, description="sentences (with --context document: documents) in one model call")
    max_wait_ms: float = Field(
        5.0, ge=0, le=10_000, description="milliseconds that a request waits for others to share its call"
    )
    queue: int = Field(256, ge=1, description="open requests (being read, waiting or computed); more get 429")
    timeout: float = Field(60.0, gt=0, description="seconds from a request's header to its answer; later ones get 504")
    header_timeout: float = Field(10.0, gt=0, description="seconds that a client may take to send a header")
    max_connections: int = Field(1000, ge=1, description="connections at a time; fewer if `ulimit -n` is low")
    max_body_bytes: int = Field(2**20, ge=1, description="bytes of a request's body")
    max_texts: int = Field(64, ge=1, description="texts of a request")
    max_characters: int = Field(100_000, ge=1, description="characters of a text")
    max_unit_characters: int = Field(
        20_000,
        ge=1,
        description="characters of a sentence (with --context document: of a document)",
    )
    max_entities: int = Field(128, ge=1, description="most probable entities that are kept of a window of the encoder")
    max_relations: int = Field(1024, ge=1, description="most probable relations that are kept of a window")
    least_link_threshold: float = Field(
        0.01, ge=0, le=1, description="lowest link threshold of a request; near 0 every pair of entities is a relation"
    )
    link_threshold: float | None = Field(
        None, ge=0, le=1, exclude=True, description="link threshold of requests without one; default: the model's"
    )


class ModelInfo(BaseModel):
    """The model that a server serves, as `/model` describes it."""

    name: str
    digest: str = Field("", description="sha256 of its configuration and weights; empty if unknown")
    backend: str = "torch"
    device: str = "cpu"
    precision: str = "fp32"
    kernels: str = Field("", description="library, processor and kernels that compute")
