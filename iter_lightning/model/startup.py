"""A faster import of transformers, for `extract` and `serve`.

`import transformers.modeling_utils` takes about twice as long as `import torch`: it imports torch's compiler (for
decorators of quantized layers), torch.distributed.tensor (for sharding) and scipy (for losses of object detection).
An encoder on one device uses none of them.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

_COMPILER = ("torch._dynamo", "torch._dynamo._trace_wrapped_higher_order_op")
_MODULES = ("modeling_utils", "masking_utils", "integrations.sdpa_attention", "models.auto", "generation.utils")
"""What the modules of encoders import."""
_allowed = False
_logger = logging.getLogger(__name__)


def allow_quick_import() -> None:
    """Let this process import transformers quickly when it first loads a model for extraction."""
    global _allowed
    _allowed = True


def import_if_allowed() -> None:
    """Import transformers quickly if `allow_quick_import` was called."""
    if _allowed:
        import_transformers_quickly()


def import_transformers_quickly() -> bool:
    """Import transformers' models without torch's compiler, torch.distributed.tensor and scipy.

    Call it in a process that runs the encoder on one device and does not train. The process can still compile models
    afterwards. Does nothing if any of these modules has been imported before. If the import fails this way, for
    instance with another version of transformers, transformers is left to be imported as usual.

    Returns:
        whether transformers was imported this way.
    """
    if any(name in sys.modules for name in ("transformers", "torch._dynamo", "scipy")):
        return False
    try:
        with _without_optional_modules():
            for name in _MODULES:
                importlib.import_module(f"transformers.{name}")
    except Exception as error:  # internals of transformers that have changed can raise anything
        _logger.debug("transformers is imported the usual way: %s", error)
        for name in [name for name in sys.modules if name.split(".")[0] == "transformers"]:
            del sys.modules[name]
        return False
    return True


class _Compiler(ModuleType):
    """Stands for torch's compiler while transformers is imported: its decorators return what they decorate."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return _undecorated


def _undecorated(function: Any = None, **options: Any) -> Any:
    return (lambda decorated: decorated) if function is None else function


@contextmanager
def _without_optional_modules() -> Iterator[None]:
    import torch

    stand_ins: dict[str, Any] = {**{name: _Compiler(name) for name in _COMPILER}, "scipy": None}
    sys.modules.update(stand_ins)  # torch itself looks its compiler up there
    try:
        with (
            mock.patch.object(torch.compiler, "disable", _undecorated),
            mock.patch.object(torch.distributed, "is_available", return_value=False),
        ):
            yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
