"""The help page of `fit`, `validate`, `test` and `predict`.

The page is stored beside this file and printed without importing torch. `python -m iter_lightning.training.help`
writes it again after an option has changed; a test compares it with the parser.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).with_name("help.txt")
WIDTH = 100
"""Columns of the page."""
_INDENT = 30
"""Columns before a description."""
SUMMARIES = {
    "fit": "Train a model in a run folder. A finished run is not run again; a stopped one is resumed.",
    "validate": "Score a run's best model on the dev split.",
    "test": "Score a run's best model on the test split, under every evaluation definition.",
    "predict": "Write the predictions of a run's best model on the test split, and print some of them.",
}
TRAINER_OPTIONS = (
    "max_epochs", "max_steps", "max_time", "accelerator", "devices", "num_nodes", "strategy", "precision", "logger",
    "callbacks", "gradient_clip_val", "accumulate_grad_batches", "check_val_every_n_epoch", "limit_train_batches",
    "limit_val_batches", "fast_dev_run", "enable_progress_bar", "deterministic", "profiler",
)  # fmt: skip
"""Options of Lightning's Trainer that the page lists; the parser takes all others, too."""


def help_page(verb: str) -> str:
    """Return the stored help page of a verb.

    Args:
        verb: `fit`, `validate`, `test` or `predict`.

    Returns:
        the text of the page, which ends with a line break.

    Example:
        >>> help_page("fit").splitlines()[0]
        'usage: python -m iter_lightning fit --config FILE [--OPTION VALUE ...]'
    """
    return PAGE.read_text(encoding="utf-8").replace("SUMMARY", SUMMARIES[verb]).replace("VERB", verb)


def build_page() -> str:
    """Build the page from the declarations of the options; `VERB` and `SUMMARY` stand for those of a verb."""
    from jsonargparse import ArgumentParser

    from iter_lightning.training.data import CorpusDataModule
    from iter_lightning.training.datamodules import data_modules
    from iter_lightning.training.loggers import TrainerOptions
    from iter_lightning.training.module import IterModule
    from iter_lightning.training.options import LINKED, TRAINER_DEFAULTS, add_project_options

    sections = [_USAGE]
    for title, fill in (
        ("Run", add_project_options),
        ("Data, for every corpus", lambda parser: parser.add_class_arguments(CorpusDataModule, "data")),
        ("Model and optimization", lambda parser: parser.add_class_arguments(IterModule, "model", skip={*LINKED})),
        ("Trainer", lambda parser: parser.add_class_arguments(TrainerOptions, "trainer", skip=_other_options())),
    ):
        parser = ArgumentParser(usage="", add_help=False, formatter_class=_formatter())
        fill(parser)
        if title == "Trainer":
            parser.set_defaults({f"trainer.{k}": v for k, v in TRAINER_DEFAULTS.items() if k in TRAINER_OPTIONS})
        sections.append(f"{title}:\n{_options(parser.format_help())}")
        if title == "Run":
            sections.append(_corpora(list(data_modules().values())))
    return "\n\n".join(sections) + f"\n\n{_END}"


_USAGE = """usage: python -m iter_lightning VERB --config FILE [--OPTION VALUE ...]

SUMMARY

Every option can be set in the YAML file of --config and on the command line, which takes precedence.

  -c, --config FILE           YAML file; several are merged in order
  --print_config              print the resulting configuration and exit
  --seed_everything SEED      seed of all random numbers (type: int, default: 1)
  --ckpt_path FILE            fit: checkpoint to start from; default: the run's own, if it has one"""
_END = """All other options of lightning.Trainer are accepted as --trainer.NAME. A class, such as a callback, is
given by its name or path, and its options by --trainer.callbacks.NAME VALUE.
"""


def _other_options() -> set[str]:
    import inspect

    import lightning

    return set(inspect.signature(lightning.Trainer.__init__).parameters) - {"self", *TRAINER_OPTIONS}


def _formatter() -> type:
    from functools import partial

    from jsonargparse import DefaultHelpFormatter

    return partial(DefaultHelpFormatter, width=WIDTH, max_help_position=_INDENT)  # type: ignore[return-value]


def _options(text: str) -> str:
    """Keep the options of a parser's help, without headings, options that take a file, and types that are unions."""
    lines: list[str] = []
    for block in re.split(r"^(?=\S|  --|$)", text, flags=re.MULTILINE):
        if not block.startswith("  --") or ".help " in block or " CONFIG" in block:
            continue
        names, *rest = block.rstrip().split("\n")
        if names[_INDENT - 2 : _INDENT] == "  ":
            names, rest = names[:_INDENT].rstrip(), [names[_INDENT:], *rest]
        description = " ".join(" ".join(rest).split()).replace("(required, type", "(type")
        description = re.sub(r", known subclasses:[^)]*", "", description)
        # the order of a union depends on which of two equal unions typing has seen first
        description = re.sub(r"type: (Union|Literal)\[[^()]*\], default", "default", description)
        filled = textwrap.wrap(description, WIDTH - _INDENT)
        lines.append(f"{names:{_INDENT}}{filled.pop(0)}" if len(names) < _INDENT - 1 and filled else names)
        lines += [" " * _INDENT + line for line in filled]
    return "\n".join(lines)


def _corpora(classes: Sequence[type]) -> str:
    """List the data modules with their own options."""
    import inspect

    from iter_lightning.training.data import CorpusDataModule

    common = {*inspect.signature(CorpusDataModule).parameters, "options"}
    lines = ["Corpus (--data NAME):"]
    for cls in classes:
        own = [name for name in inspect.signature(cls).parameters if name not in common]
        summary = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
        if own:
            summary += f" Options: {', '.join(f'--data.{name}' for name in own)}."
        indent = " " * 14
        lines.append(textwrap.fill(f"  {cls.__name__:12}{summary}", WIDTH, subsequent_indent=indent))
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(build_page(), encoding="utf-8")
