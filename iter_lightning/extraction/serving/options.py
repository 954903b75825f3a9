"""What a server allows, and how long it waits."""

from __future__ import annotations

import math
from dataclasses import dataclass

from iter_lightning.errors import ConfigError


@dataclass(frozen=True)
class ServeOptions:
    """Limits of a server.

    Raises:
        ConfigError: a limit that leaves nothing, a time that is not finite.
    """

    max_batch: int = 32
    """Documents in one call of the model, at most; its words are bounded by the extractor's `max_tokens`."""
    max_wait_ms: float = 5.0
    """Milliseconds that a request waits for others to share its call, at most."""
    queue: int = 256
    """Requests in the server at once, whether read, waiting or computed; the next one gets 429."""
    max_body_bytes: int = 2**20
    """Bytes of a request's body."""
    max_characters: int = 100_000
    """Characters of one text."""
    max_unit_characters: int = 20_000
    """Characters that the model reads at once (a sentence, or a document where that is the context): such a unit cannot
    be parted, and all others wait for it."""
    max_texts: int = 64
    """Texts in one request."""
    timeout: float = 60.0
    """Seconds from a request's first byte to its answer; then it gets 504. A server that stops waits as long."""
    least_link_threshold: float = 0.01
    """The lowest lambda a request may name: near 0 every pair of entities is a relation of every type."""
    link_threshold: float | None = None
    """Lambda of requests that name none; None is the model's own."""

    def __post_init__(self) -> None:
        for name in ("max_batch", "queue", "max_body_bytes", "max_characters", "max_unit_characters", "max_texts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not 0 <= self.max_wait_ms <= 10_000:
            raise ConfigError(f"max_wait_ms must be between 0 and 10000, found {self.max_wait_ms}")
        if not (self.timeout > 0 and math.isfinite(self.timeout)):
            raise ConfigError(f"timeout must be a positive number of seconds, found {self.timeout}")
        for name in ("link_threshold", "least_link_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name} must be a number in [0, 1], found {value}")


@dataclass(frozen=True)
class ModelInfo:
    """What is served, for answers and for `/model`."""

    name: str
    digest: str = ""
    """sha256 of its configuration and weights."""
    backend: str = "torch"
    device: str = "cpu"
    precision: str = "fp32"
    kernels: str = ""
    """What computes: `Backend.kernels`."""
