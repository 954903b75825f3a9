"""The project's own options of the command line, and its defaults for the Trainer."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser

from iter_lightning.training.wandb import WandbJobType, WandbMode

LINKED = ("schema", "omega", "flat", "self_links", "language", "split_protocol")
"""Properties of the data module that the model is built with; the only link from data to model."""
TRAINER_DEFAULTS: dict[str, Any] = {
    "gradient_clip_val": 1.0,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
    "enable_model_summary": False,
    "log_every_n_steps": 10,
}
"""Defaults of the Trainer that differ from those of Lightning."""


def add_project_options(parser: ArgumentParser) -> None:
    """Declare the options that do not belong to the data, the model or the trainer."""
    parser.add_argument("--extends", type=str | None, default=None, help="YAML file that this configuration builds on")
    parser.add_argument("--experiment", type=str, default="experiment", help="name of the run folder and the W&B group")
    parser.add_argument("--run_dir", type=str | None, default=None, help="run folder; null: runs/EXPERIMENT/seedSEED")
    parser.add_argument(
        "--allow-unfinished", action="store_true", help="validate, test, predict: accept a run that has not finished"
    )
    parser.add_argument(
        "--wandb.mode", type=WandbMode, default="auto", help="auto is online with an API key, else offline"
    )
    parser.add_argument("--wandb.project", type=str, default="iter_lightning", help="W&B project")
    parser.add_argument(
        "--wandb.tags", type=list[str], default=[], help="W&B tags in addition to corpus, encoder and split protocol"
    )
    parser.add_argument("--wandb.job_type", type=WandbJobType, default="fit", help="W&B job type")
