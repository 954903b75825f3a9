"""Options that make training fast and leave its result alone: compilation, packing, accumulation, the optimiser."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file
from torch import Tensor

from iter_lightning.cli import main
from iter_lightning.errors import ConfigError
from iter_lightning.features import Batch
from iter_lightning.model import IterModel
from iter_lightning.model.compilation import check_compiler, compile_encoder
from iter_lightning.training import module as training_module
from iter_lightning.training.cli import parse_config
from iter_lightning.training.datamodules import Custom
from iter_lightning.training.module import IterModule
from iter_lightning.training.run import differences, identity
from iter_lightning.types import Schema
from tests.builders import random_example, tiny_model

pytestmark = pytest.mark.usefixtures("without_analysis")

Gradients = dict[str, Tensor]


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Counter:
    """A backend that compiles nothing and counts the graphs it is given."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


def batch_of_size(model: IterModel, sentences: int, words: int, seed: int = 0) -> Batch:
    rng = random.Random(seed)
    gold = [random_example(rng, words=words - i % 3, id=str(i)) for i in range(sentences)]
    return model.collate([(e, 0) for e in model.aligner().encode(gold)])


# compilation ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("family", ["bert", "t5", "deberta_v3", "modernbert"])
@pytest.mark.slow
def test_one_graph_serves_batches_of_every_shape(family: str) -> None:
    plain, model = tiny_model(family, omega=2).train(), tiny_model(family, omega=2).train()
    names, counter = list(model.state_dict()), Counter()
    model.packing = False
    compile_encoder(model.encoder, backend=counter)  # type: ignore[arg-type]
    assert list(model.state_dict()) == names
    for sentences, words in ((4, 9), (3, 20), (7, 5), (2, 40), (5, 33), (4, 9)):
        batch = batch_of_size(model, sentences, words)
        model(batch).total.backward()
    assert counter.graphs == 1
    for network in (plain, model):
        network.eval()
        network.zero_grad()
    plain.packing = False
    for network in (plain, model):
        network(batch).total.backward()
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-4)
    for sentences, words in ((4, 9), (3, 20), (7, 5)):
        with torch.no_grad():
            model.encode(batch_of_size(model, sentences, words))
    assert counter.graphs == 3  # training; eval mode with gradients, as above; evaluation
    for _ in range(2):
        with torch.no_grad():
            model.encode(batch_of_size(model, 1, 20))
    assert counter.graphs == 4  # a single window


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.slow
def test_a_compiled_run_leaves_what_a_plain_one_leaves(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counter, checked = Counter(), []
    monkeypatch.setattr(training_module, "compile_encoder", partial(compile_encoder, backend=counter))
    monkeypatch.setattr(training_module, "check_compiler", checked.append)
    arguments = [*arguments, "--trainer.max_epochs=1"]
    assert main(["fit", *arguments, f"--run_dir={tmp_path / 'plain'}"]) == 0
    assert main(["fit", *arguments, "--model.compile=true"]) == 0
    assert set(checked) == {torch.device("cpu")}
    assert 1 <= counter.graphs <= 2  # training and evaluation
    run, plain = tmp_path / "run", tmp_path / "plain"
    assert {p.name for p in (run / "model").iterdir()} == {p.name for p in (plain / "model").iterdir()}
    assert (run / "model" / "config.json").read_text() == (plain / "model" / "config.json").read_text()
    mine, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (run, plain))
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-3, atol=1e-4)
    graphs = counter.graphs
    assert main(["test", *arguments]) == 0  # a compiled run is scored under the plain configuration, and uncompiled
    assert counter.graphs == graphs
    assert main(["fit", *arguments]) == 2  # but is another run
    assert "model.compile: True there, False now" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_a_machine_that_cannot_compile_says_so_before_anything_is_written(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch._inductor.config

    with torch._inductor.config.patch({"cpp.cxx": (None, "/nowhere/g++")}):
        assert main(["fit", *arguments, "--model.compile=true"]) == 2
    said = capsys.readouterr().err
    assert "compile: torch.compile does not work for cpu on this machine" in said
    assert "install a C++ compiler" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_the_real_compiler_trains(arguments: list[str], tmp_path: Path) -> None:
    check_compiler(torch.device("cpu"))
    assert main(["fit", *arguments, "--model.compile=true"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["train/loss"] for line in lines] == pytest.approx([402.0, 370.3, 349.2], rel=0.05)  # other dropout


# packing -------------------------------------------------------------------------------------------------------------


def test_packing_is_switched_on_in_training_and_not_exported(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, forward = [], IterModel.forward

    def spy(self: IterModel, batch: Batch) -> Any:
        seen.append(self.packing)
        return forward(self, batch)

    monkeypatch.setattr(IterModel, "forward", spy)
    arguments = [*arguments, "--trainer.max_epochs=1"]
    assert main(["fit", *arguments, "--model.packing=true"]) == 0
    assert set(seen) == {True}
    assert "packing" not in json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert main(["test", *arguments]) == 0
    seen.clear()
    assert main(["fit", *arguments, f"--run_dir={tmp_path / 'plain'}"]) == 0
    assert set(seen) == {None}
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines()[0] for name in ("run", "plain")]
    packed, plain = (json.loads(line)["train/loss"] for line in lines)
    assert packed == pytest.approx(plain, rel=0.02)  # dropout draws other numbers


def test_what_an_encoder_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.compile needs padded batches and model.packing has none"):
        IterModule(Schema(("Per",)), compile=True, packing=True)
    tiny_model("deberta_v3").encoder.save_pretrained(tmp_path)  # type: ignore[operator]
    module = IterModule(Schema(("Per",)), encoder=str(tmp_path), packing=True)
    with pytest.raises(ConfigError, match=r"model.packing: encoders of type deberta-v2 need padding"):
        module.check(torch.device("cpu"))


def test_runs_made_before_these_options_are_still_found(arguments: list[str]) -> None:
    now = identity(parse_config(arguments))
    before = {**now, "model": {k: v for k, v in now["model"].items() if k not in ("compile", "packing")}}
    assert now["model"]["compile"] is now["model"]["packing"] is False
    assert not list(differences(before, now))


# accumulation and the optimiser --------------------------------------------------------------------------------------


class GradientsOfSteps(Callback):
    """Keeps the gradients of each optimiser step, before they are clipped, and the optimiser."""

    def __init__(self) -> None:
        self.steps: list[Gradients] = []
        self.optimizer: Any = None

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        named = pl_module.network.named_parameters()
        self.steps.append({name: p.grad.clone() for name, p in named if p.grad is not None})
        self.optimizer = optimizer


def fit(encoder_dir: Path, corpus_dir: Path, reduction: str = "sum", **options: Any) -> GradientsOfSteps:
    """One epoch over 24 windows, without dropout; batches in the same order whatever their size."""
    batch_size, found = options.pop("batch_size", 24), GradientsOfSteps()
    data = Custom(train=str(corpus_dir / "train.json"), dev=str(corpus_dir / "dev.json"), batch_size=batch_size)
    module = IterModule(data.schema, omega=data.omega, encoder=str(encoder_dir), loss_reduction=reduction, dropout=0.0)
    torch.manual_seed(0)
    module.configure_model()
    module.network.eval()  # Lightning leaves modes as they are: no dropout in the encoder
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0, use_distributed_sampler=False,
        callbacks=[found], **options,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return found


@pytest.mark.parametrize("reduction", ["sum", "batch_mean"])
def test_accumulated_batches_are_one_batch(reduction: str, encoder_dir: Path, corpus_dir: Path) -> None:
    (whole,) = fit(encoder_dir, corpus_dir, reduction).steps
    (parts,) = fit(encoder_dir, corpus_dir, reduction, batch_size=8, accumulate_grad_batches=3).steps
    assert whole.keys() == parts.keys()
    largest = max(float(gradient.abs().max()) for gradient in whole.values())
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-3, atol=1e-6 * largest)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_optimiser_is_fused(precision: str, encoder_dir: Path, corpus_dir: Path) -> None:
    found = fit(encoder_dir, corpus_dir, batch_size=8, precision=precision)
    assert len(found.steps) == 3
    assert isinstance(found.optimizer, torch.optim.AdamW)
    assert all(group["fused"] for group in found.optimizer.param_groups)
