from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from iter_lightning.apps.onnx import tracing
from iter_lightning.errors import ConfigError
from iter_lightning.model import IterModel
from tests.apps.onnx.builders import small_model
from tests.builders import tiny_model


def test_trace_exporter_fails_states_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("step 1 of 3 failed") from NotImplementedError("no such operator\nand more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(
        ConfigError, match=r"type bert cannot be exported to ONNX \(NotImplementedError: no such operator\); types that"
    ):
        tracing.trace(tiny_model(), tmp_path)


def test_verify_compares_every_graph(model: IterModel, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracing.verify(model, exported / "onnx")
    with pytest.raises(ConfigError, match=r"graph encoder of a bert model differs from the model by .* on 1 windows"):
        tracing.verify(small_model(seed=1), exported / "onnx")
    for name in ("is_left", "is_span", "is_link"):
        other = small_model()
        head = getattr(other, name)
        with torch.no_grad():
            head.w_out.weight *= 2
        with pytest.raises(ConfigError, match=f"graph {name} of a bert model differs"):
            tracing.verify(other, exported / "onnx")
    monkeypatch.setattr(tracing, "_SHAPES", ((1, 600),))
    with pytest.raises(ConfigError, match="graph encoder of a bert model does not run on 1 windows of 600 subwords"):
        tracing.verify(with_positions(small_model(), 600), exported / "onnx")


def with_positions(model: IterModel, count: int) -> IterModel:
    """Give the model more positions than it was exported with."""
    embeddings = model.encoder.embeddings
    embeddings.position_embeddings = torch.nn.Embedding(count, 32)
    embeddings.position_ids = torch.arange(count)[None]
    embeddings.token_type_ids = torch.zeros(1, count, dtype=torch.long)
    model.max_subwords = count
    return model


@pytest.mark.slow
def test_trace_branching_encoder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    forward = model.encoder.forward

    def branching(*arguments: Any, **options: Any) -> Any:
        found = forward(*arguments, **options)
        if found.last_hidden_state.sum() > 0:  # depends on the data: no graph has both branches
            found.last_hidden_state = found.last_hidden_state * 2
        return found

    monkeypatch.setattr(model.encoder, "forward", branching)
    with pytest.raises(ConfigError, match=r"type bert cannot be exported to ONNX \(.+: .+\); types that can: albert"):
        tracing.trace(model, tmp_path)
