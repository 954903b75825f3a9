"""`python -m iter_lightning serve [MODEL] [options]`."""

from __future__ import annotations

import argparse
import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from iter_lightning.errors import ConfigError
from iter_lightning.heap import freeze_heap, limit_onednn_cache, return_large_buffers
from iter_lightning.model.names import DEFAULT
from iter_lightning.model.startup import import_transformers_quickly
from iter_lightning.status import unfinished_note

if TYPE_CHECKING:
    from iter_lightning.apps.serve.options import ServeCommand
    from iter_lightning.apps.serve.schemas import ModelInfo
    from iter_lightning.extraction.extractor import Extractor

NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "prometheus_client": "prometheus-client"}
"""Module -> distribution."""


def main(arguments: list[str]) -> None:
    """Serve a model over HTTP until SIGTERM or SIGINT.

    Args:
        arguments: The command line after `serve`.

    Raises:
        IterError: The user can correct it.
    """
    if missing := [distribution for module, distribution in NEEDED.items() if find_spec(module) is None]:
        raise ConfigError(f"serving needs {', '.join(missing)}: pip install 'iter-lightning[serve]'")
    from iter_lightning.apps.serve.options import ServeCommand

    model, command = _parse(arguments, ServeCommand)
    limit_onednn_cache()
    return_large_buffers()
    if command.threads:  # read by torch when it is imported, and by the onnx backend
        os.environ["OMP_NUM_THREADS"] = str(command.threads)
    from iter_lightning.apps.serve.app import create_app
    from iter_lightning.apps.serve.server import bind, run

    with bind(command.host, command.port) as bound:  # before the model is loaded, which takes longer
        if note := unfinished_note(model):
            logging.getLogger(__name__).warning(note)
        if command.backend == "torch":
            import_transformers_quickly()
        extractor, info = load(model, command)
        app = create_app(extractor, command, info)
        freeze_heap()
        run(app, bound, access_log=command.access_log)


def load(model: str, command: ServeCommand) -> tuple[Extractor, ModelInfo]:
    """Return the extractor and its description.

    Raises:
        IterError: The model does not exist or does not fit the options.
    """
    from iter_lightning.apps.serve.schemas import ModelInfo
    from iter_lightning.extraction.extractor import Extractor
    from iter_lightning.extraction.run import model_digest
    from iter_lightning.model.names import resolve_model
    from iter_lightning.types import WindowLimits

    options = None
    if command.backend == "torch":
        from iter_lightning.model.inference import InferenceOptions

        options = InferenceOptions(precision=command.precision, allow_slow=command.allow_slow)
    elif command.device not in (None, "cpu") or command.model_fields_set & {"precision", "allow_slow"}:
        raise ConfigError("the onnx backend runs on a CPU, in the precision that export decided")
    folder = resolve_model(model)
    extractor = Extractor.from_pretrained(
        folder, language=command.language, context=command.context, device=command.device, options=options,
        backend=command.backend, max_tokens=command.max_tokens,
        limits=WindowLimits(command.max_entities, command.max_relations),
    )  # fmt: skip
    network = getattr(extractor.backend, "model", None)
    info = ModelInfo(
        name=command.name or name_of(model), digest=f"sha256:{model_digest(folder)}", backend=command.backend,
        device="cpu" if network is None else str(next(network.parameters()).device), kernels=extractor.kernels,
        precision="as exported" if options is None else command.precision,
    )  # fmt: skip
    return extractor, info


def name_of(model: str) -> str:
    """Return a hub id unchanged, and the last names of a folder: the rest of its path is a secret of the machine."""
    path = Path(model)
    if not path.exists():
        return model
    parts = path.resolve().parts
    run = parts[:-1] if parts[-1] == "model" else parts  # seed1 alone would say little
    return "/".join(run[-2:]) if (Path(*run) / "config.yaml").is_file() else "/".join(run[-1:])


def _parse(arguments: list[str], fields: type[ServeCommand]) -> tuple[str, ServeCommand]:
    """Return the model and the options; each field is an option, and pydantic checks its value."""
    from pydantic import ValidationError

    parser = argparse.ArgumentParser(
        prog="python -m iter_lightning serve", description="Serve a model over HTTP: POST /extract, and a page at /.",
        argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", default=DEFAULT,
        help="run folder, model folder, hub id or the name of a ready model (default: %(default)s)",
    )  # fmt: skip
    for name, field in fields.model_fields.items():
        choices = "|".join(get_args(field.annotation)) if get_origin(field.annotation) is Literal else "VALUE"
        default = "" if field.default in (None, False) else f"; default {field.default}"
        how: dict[str, Any] = {"action": "store_true"} if field.annotation is bool else {"metavar": choices}
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"{field.description}{default}", **how)
    given = vars(parser.parse_args(arguments))
    try:
        return given.pop("model"), fields.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise ConfigError(f"{option}: {first['msg']}, found {first['input']!r}") from error
