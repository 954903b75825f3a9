"""Exported folders to the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from iter_lightning.errors import ConfigError

_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)),
)
"""What the hub's client raises; which HTTP library it has, and so its errors of transport, differs between versions."""
_SECRET = re.compile(r"hf_\w+")


def check_repo_id(name: str) -> None:
    """Whether a model can have this id.

    Raises:
        ConfigError: it is not `owner/name`, or holds what the hub does not take.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ConfigError(f"--push {name!r}: {_one_line(error)}") from error
    if name.count("/") != 1:
        raise ConfigError(f"--push {name!r}: expected owner/name")


def push(folder: Path, name: str, private: bool = False) -> str:
    """Upload an exported folder as one commit, and return its address.

    Args:
        folder: what `export_model` wrote; it stays as it is.
        name: `owner/name`; made where it does not exist.
        private: nobody else may see it.

    Raises:
        ConfigError: no token, no way to the hub, the hub refuses, or `private` for a model that is public.
    """
    token = huggingface_hub.get_token()
    if not token:
        raise ConfigError(
            f"{name}: no token for the hub: set HF_TOKEN or run `hf auth login`; the folder {folder} is whole and stays"
        )
    api = huggingface_hub.HfApi(token=token)
    try:
        api.create_repo(name, private=private or None, repo_type="model", exist_ok=True)
        if private and api.repo_info(name, repo_type="model").private is False:
            raise ConfigError(f"{name} is there already and public: nothing was uploaded; the folder {folder} stays")
        done = api.upload_folder(
            repo_id=name, repo_type="model", folder_path=folder, commit_message="Export by iter_lightning",
            delete_patterns=["onnx/*"],  # graphs of an earlier model
        )  # fmt: skip
    except _ERRORS as error:
        reason = _one_line(error).replace(token, "(token)")
        raise ConfigError(f"{name} was not uploaded: {reason}; the folder {folder} is whole and stays") from error
    return str(getattr(done, "commit_url", None) or f"https://huggingface.co/{name}")


def _one_line(error: BaseException) -> str:
    """The first line of a message, without what looks like a token."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _SECRET.sub("(token)", text)
