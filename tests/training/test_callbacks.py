"""The moving average: what it is, when it is evaluated, what is trained on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch

from iter_lightning.errors import ConfigError
from iter_lightning.training.callbacks import EpochLine, MovingAverage


class Line(lightning.LightningModule):
    """One weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0]))


def trained(callback: MovingAverage, module: Line, values: list[tuple[int, float]]) -> None:
    """Batches after which the trainer stands at `step` and the weight at `value`."""
    for step, value in values:
        module.weight.data.fill_(value)
        trainer: Any = SimpleNamespace(global_step=step)
        callback.on_train_batch_end(trainer, module, None, None, 0)


def test_average_is_the_recursion_over_steps() -> None:
    module, callback = Line(), MovingAverage(0.9)
    trainer: Any = SimpleNamespace()
    callback.on_train_start(trainer, module)
    trained(callback, module, [(1, 2.0), (1, 5.0), (2, 3.0)])  # the second batch made no step: gradients accumulate
    expected = 0.9 * (0.9 * 1.0 + 0.1 * 2.0) + 0.1 * 3.0
    assert callback.average[0].item() == pytest.approx(expected)
    callback.on_validation_start(trainer, module)
    assert module.weight.item() == pytest.approx(expected)
    callback.on_validation_end(trainer, module)
    assert module.weight.item() == 3.0
    assert callback.average[0].item() == pytest.approx(expected)


def test_a_continued_average_is_the_same() -> None:
    whole, module = MovingAverage(0.5), Line()
    whole.on_train_start(SimpleNamespace(), module)
    trained(whole, module, [(1, 2.0)])
    continued = MovingAverage(0.5)
    state = {k: [t.clone() for t in v] if isinstance(v, list) else v for k, v in whole.state_dict().items()}
    continued.load_state_dict(state)
    continued.on_train_start(SimpleNamespace(), module)
    for callback in (whole, continued):
        trained(callback, module, [(2, 7.0)])
    assert torch.equal(whole.average[0], continued.average[0])


def test_validation_before_training_sees_the_weights() -> None:
    module, callback = Line(), MovingAverage()
    callback.on_validation_start(SimpleNamespace(), module)
    assert module.weight.item() == 1.0


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0])
def test_a_decay_outside_its_range_is_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match="decay must lie between 0 and 1"):
        MovingAverage(decay)


def test_epoch_line_prints_one_line_per_epoch_unless_disabled(capsys: pytest.CaptureFixture[str]) -> None:
    line = EpochLine()
    trainer: Any = SimpleNamespace(current_epoch=3, callback_metrics={"dev/f1": torch.tensor(0.5), "lr/heads": 1.0})
    line.on_train_epoch_end(trainer, lightning.LightningModule())
    line.disable()
    line.on_train_epoch_end(trainer, lightning.LightningModule())
    assert capsys.readouterr().err == "epoch 3: dev/f1 0.5\n"
