"""The command line of `python -m iter_lightning export MODEL OUT`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.labels import Labels, add_label_options

_EPILOG = """
examples:
  export runs/mine/seed1 exported/mine --license cc-by-4.0 --language en
  export runs/mine/seed1 exported/mine --onnx int8
  export open-minilm exported/news --onnx fp32 --labels person,company --relations "works for"
  export runs/mine/seed1 exported/mine --push owner/mine --private
"""


def main(arguments: list[str]) -> None:
    """Write a trained model as a folder for the Hugging Face hub, with its model card."""
    options = _parser().parse_args(arguments)
    from iter_lightning.apps.export.card import CardOptions
    from iter_lightning.apps.export.folder import export_model
    from iter_lightning.apps.export.hub import check_repo_id, push

    if options.private and not options.push:
        raise ConfigError("--private requires --push")
    if options.push:
        check_repo_id(options.push)
    card = CardOptions(
        name=options.push or options.out.resolve().name, license=options.license,
        languages=tuple(options.language), author=options.author, watts=options.watts,
    )  # fmt: skip
    labels = Labels.from_options(options.labels, options.relations, options.schema, options.nested)
    parity = export_model(
        options.model, options.out, card, options.onnx, options.overwrite, options.allow_unfinished, labels,
        options.compact,
    )  # fmt: skip
    print(f"{options.out}: {', '.join(sorted(path.name for path in options.out.iterdir()))}")
    if parity:
        print(f"onnx: {parity}")
    if not options.license:
        logging.getLogger(__name__).warning("no --license: the card states that none is recorded")
    if options.push:
        print(f"uploaded: {push(options.out, options.push, options.private)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m iter_lightning export", description=main.__doc__, epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("model", metavar="MODEL", help="run folder, model folder, hub id or a ready model")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to create")
    parser.add_argument("--onnx", choices=("fp32", "int8"), help="also write graphs for the onnx backend")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    parser.add_argument(
        "--allow-unfinished", action="store_true", help="accept a run that has not finished; the card says so"
    )
    parser.add_argument("--compact", action="store_true", help="write weights in 8 bits, a quarter of the size")
    labels = parser.add_argument_group(
        "labels of an open model", "Without them, --onnx uses the model's own types, and other exports stay open."
    )
    add_label_options(labels)
    card = parser.add_argument_group("model card (everything else comes from the run folder)")
    card.add_argument("--license", metavar="ID", help="license of the weights: apache-2.0, cc-by-4.0, ...")
    card.add_argument("--language", nargs="+", default=[], metavar="CODE", help="ISO 639 codes; xx for many languages")
    card.add_argument("--author", metavar="NAME", help="who made the model")
    card.add_argument("--watts", type=float, metavar="W", help="mean power of the training machine, to estimate energy")
    hub = parser.add_argument_group("Hugging Face hub (requires HF_TOKEN, or `hf auth login`)")
    hub.add_argument("--push", metavar="OWNER/NAME", help="upload the folder")
    hub.add_argument("--private", action="store_true", help="upload it as a private model")
    return parser
