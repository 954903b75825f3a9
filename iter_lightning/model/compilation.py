"""`torch.compile` for the encoder, in training and after it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iter_lightning.errors import ConfigError


def compile_encoder(encoder: nn.Module, frozen: bool = False, backend: str = "inductor") -> None:
    """Compile an encoder in place, at its first call, for batches of any size; its tensors keep their names.

    `frozen` weights never change again: they are laid out for the processor and folded into the code. There is one
    graph for training and one for evaluation, and one more of each where a batch holds a single window.
    """
    encoder.compile(dynamic=True, backend=backend, options={"freezing": True} if frozen else None)


def check_compiler(device: torch.device) -> None:
    """Compile an addition for a device, as the encoder will be at the first step.

    Raises:
        ConfigError: it cannot be done on this machine.
    """
    try:
        torch.compile(_trial)(torch.ones(2, device=device))
    except Exception as error:  # each of the tools in the chain has errors of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"compile: nothing can be compiled for {device} here: {reason}; install a C++ compiler (g++ and the "
            "headers of Python), or leave compile out"
        ) from error


def _trial(x: Tensor) -> Tensor:
    return x + 1
