"""`torch.compile` for the encoder, in training and in inference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iter_lightning.errors import ConfigError


def compile_encoder(encoder: nn.Module, frozen: bool = False, backend: str = "inductor") -> None:
    """Compile an encoder in place, for batches of any size; its tensors keep their names.

    Compilation runs at the first call. There is one graph for training and one for evaluation, and one more of each for
    batches of a single window.

    Args:
        encoder: the encoder.
        frozen: the weights never change again, so that they can be packed for the processor and folded into the code.
        backend: backend of `torch.compile`.
    """
    encoder.compile(dynamic=True, backend=backend, options={"freezing": True} if frozen else None)


def check_compiler(device: torch.device) -> None:
    """Check that this machine can compile for a device, by compiling an addition.

    Raises:
        ConfigError: it cannot; the message says what to install.
    """
    try:
        torch.compile(_trial)(torch.ones(2, device=device))
    except Exception as error:  # each tool in the chain raises its own errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"compile: torch.compile does not work for {device} on this machine: {reason}; install a C++ compiler "
            "(g++ and the headers of Python), or leave compile out"
        ) from error


def _trial(x: Tensor) -> Tensor:
    return x + 1
