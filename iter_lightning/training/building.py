"""Set up parsing, check values, and convert errors of jsonargparse, OmegaConf and Lightning to one line."""

from __future__ import annotations

import logging
import os
import re
import typing
import warnings
from argparse import ArgumentError
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

import lightning
import yaml
from jsonargparse import ArgumentParser, get_loader, set_loader, set_parsing_settings
from lightning.fabric.utilities.exceptions import MisconfigurationException

from iter_lightning.errors import ConfigError, IterError
from iter_lightning.machine import machine_fault
from iter_lightning.model.config import IterConfig
from iter_lightning.training.extends import lookup
from iter_lightning.training.module import IterModule
from iter_lightning.training.yaml_files import LimitError, check_limits

PARSER_MODE = "omegaconf+"
_LONGEST = 600
"""Most characters of a library's message that are shown."""


def quiet() -> None:
    """Silence messages of libraries that are meant for developers."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric.utilities.seed").setLevel(logging.WARNING)
    for text in (
        ".*does not have many workers.*", ".*LeafSpec.*", ".*isinstance.treespec.*", ".*logging interval.*",
        ".*in eval mode at the start of training.*", ".*custom batch sampler `LengthBatchSampler`.*",
        "Checkpoint directory .* exists and is not empty.*", "The dirpath has changed from .*",
    ):  # fmt: skip
        warnings.filterwarnings("ignore", text)


@cache
def set_up_parsing() -> None:
    """Set options of all parsers: `${}` by relative path, and limits of YAML in values."""
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    parser = ArgumentParser(parser_mode=PARSER_MODE)
    parser.add_argument("--any", type=dict)
    parser.parse_args(["--any={a: b}"])  # the mode's loader is set with the first value
    load = get_loader(PARSER_MODE)

    def load_within_limits(text: str) -> Any:
        try:
            check_limits(text)
            return load(text)
        except LimitError as error:
            raise ConfigError(f"a value of the configuration ({text[:40]!r} ...): {error}") from error
        except yaml.YAMLError:
            raise
        except (ValueError, OverflowError) as error:  # an impossible date or a number that is too long stays text
            raise yaml.YAMLError(str(error)) from error

    set_loader(PARSER_MODE, load_within_limits, (yaml.YAMLError,))


def as_config_error(error: BaseException) -> IterError:
    """Convert an error that was raised while a configuration was parsed or built.

    If libraries have wrapped an `IterError`, it is returned unchanged; a lack of memory is reported as such.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, IterError):
            return cause
        if isinstance(cause, MemoryError):
            return IterError(machine_fault(cause) or "out of memory")
        cause = cause.__cause__ or cause.__context__
    return ConfigError(_readable(error))


def trainer_error(error: Exception, options: Mapping[str, Any]) -> ConfigError:
    """Convert Lightning's error about building a trainer; names the option if the message contains it."""
    said = _one_line(str(error)) or type(error).__name__
    named = [
        f"trainer.{name} {value!r:.80}"
        for name, value in options.items()
        if name not in ("callbacks", "logger", "default_root_dir") and re.search(rf"\b{name}\b", said)
    ]
    return ConfigError(f"{', '.join(named) or 'the trainer cannot be built'}: {said}")


def check_values(config: Mapping[str, Any]) -> None:
    """Check values of a verb's configuration that no class checks.

    Null is refused for options whose type does not include it; jsonargparse treats it as "not given".

    Args:
        config: plain values.

    Raises:
        ConfigError: lists every wrong value, one per line.
    """
    faults = [f"{name}: null is not allowed; expected text" for name in _TEXTS if lookup(config, name) is None]
    seed = config.get("seed_everything")
    if isinstance(seed, int) and not 0 <= seed < 2**32:
        faults.append(f"seed_everything: expected a whole number from 0 to {2**32 - 1}, found {seed}")
    if "\0" in f"{config.get('run_dir')}{config.get('experiment')}":
        faults.append("run_dir, experiment: found a NUL character; expected a valid folder name")
    for name in ("optimizer", "lr_scheduler"):
        if config.get(name) is not None:
            faults.append(f"{name}: set learning_rate, weight_decay, schedule and warmup_ratio of model.encoder_group "
                          "and model.head_group instead")  # fmt: skip
    groups: list[tuple[str, tuple[type | None, ...]]] = [
        ("data.init_args", (_class(lookup(config, "data.class_path")),)), ("model", (IterConfig, IterModule)),
        ("trainer", (lightning.Trainer,)),
    ]  # fmt: skip
    for group, owners in groups:
        hints = {name: hint for owner in owners if owner for name, hint in _hints(owner).items()}
        for name, value in (lookup(config, group) or {}).items():
            if value is None and name in hints and not _allows_none(hints[name]):
                faults.append(f"{group.removesuffix('.init_args')}.{name}: null is not allowed; "
                              f"expected {_type_name(str(hints[name]))}")  # fmt: skip
    if faults:
        raise ConfigError("\n  ".join(faults))


_TEXTS = ("experiment", "wandb.mode", "wandb.project", "wandb.job_type")


def _class(path: Any) -> type | None:
    module, _, name = str(path).rpartition(".")
    return getattr(import_module(module), name, None) if module else None


@cache
def _hints(owner: type) -> dict[str, Any]:
    """Return option -> type, including options that a class passes to its parents."""
    found: dict[str, Any] = {}
    for parent in reversed(owner.__mro__):
        if "__init__" in vars(parent) and parent.__module__.startswith(("iter_lightning", "lightning.pytorch")):
            found |= typing.get_type_hints(vars(parent)["__init__"])
    return found


def _allows_none(hint: Any) -> bool:
    return hint in (Any, type(None)) or type(None) in typing.get_args(hint)


def _readable(error: BaseException) -> str:
    """Convert a library's error to one line: the option, the value, and the expected values."""
    said = str(error)
    key = re.search(r'Parser key "([^"]+)"|full_key: (\S+)', said)
    option = "" if key is None else re.sub(r"^(fit|validate|test|predict)\.", "", key[1] or key[2]) + ": "
    found = re.search(r"(?:Given value|Got value): (.*)", said)
    reasons = [line.strip().removeprefix("- ") for line in said.splitlines()]
    reasons = [line for line in reasons if line and not line.startswith(_CHAFF)]
    expected = list(dict.fromkeys(_type_name(line) for line in reasons if line.startswith("Expected a")))
    others = [line for line in reasons if not line.startswith("Expected a")]
    parts = [_one_line(" ".join(others))] if others else []
    if expected and not any(line.startswith("Problem with") for line in others):
        parts.append(f"expected {' or '.join(expected)}" + (f", found {found[1][:120]}" if found else ""))
    text = "; ".join(parts) or type(error).__name__
    if not isinstance(error, ArgumentError | ValueError | TypeError | MisconfigurationException) and not key:
        text = f"{text} ({type(error).__name__})"
    return (option + text)[:_LONGEST]


_CHAFF = ("Parser key", "Does not validate", "Subtypes:", "Errors:", "Given value", "full_key:", "object_type=")


def _type_name(line: str) -> str:
    """Return the type in `Expected a <class 'int'>. Got value: x`, as `int`; choices of a `Literal` are listed."""
    name = re.sub(r"^Expected an? |\.? Got value: .*$|, but got .*$", "", line)
    name = re.sub(r"<class '([^']*)'>", r"\1", name).replace("typing.", "").replace("NoneType", "null")
    name = re.sub(r"Literal\[([^\]]*)\]", lambda found: f"one of {found[1].replace(chr(39), '')}", name)
    return "the name or the path of a class" if name.startswith("dot import path") else name[:120]


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]
