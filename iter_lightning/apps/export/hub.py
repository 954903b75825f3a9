"""Upload of exported folders to the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

import huggingface_hub

from iter_lightning.errors import ConfigError

_NAME = re.compile(r"(?!.*(--|\.\.))\w[\w.-]*/\w[\w.-]*", re.ASCII)
_TOKEN = re.compile(r"hf_\w+")


def check_repo_id(name: str) -> None:
    """Check the id of a model before it is exported; the hub's client checks it completely.

    Raises:
        ConfigError: the id does not have the form `owner/name`.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--push {name!r}: expected owner/name, of letters, digits, '-', '_' and '.', without '--'")


def push(folder: Path, name: str, private: bool = False) -> str:
    """Upload an exported folder as one commit.

    Args:
        folder: the output of `export_model`; it is not changed.
        name: `owner/name`; created if it does not exist.
        private: whether the model must be private.

    Returns:
        the address of the commit.

    Raises:
        ConfigError: there is no token, the hub is out of reach or refuses, or `private` was given for a public model.

    Example:
        >>> push(Path("exported/mine"), "owner/mine", private=True)  # doctest: +SKIP
        'https://huggingface.co/owner/mine/commit/...'
    """
    token = huggingface_hub.get_token()
    kept = f"the folder {folder} is complete and stays"
    if not token:
        raise ConfigError(f"{name}: no token for the hub: set HF_TOKEN or run `hf auth login`; {kept}")
    api = huggingface_hub.HfApi(token=token)
    try:
        api.create_repo(name, private=private or None, repo_type="model", exist_ok=True)
        if private and api.repo_info(name, repo_type="model").private is False:
            raise ConfigError(f"{name} exists and is public: nothing was uploaded; {kept}")
        done = api.upload_folder(
            repo_id=name, repo_type="model", folder_path=folder, commit_message="Export by iter_lightning",
            delete_patterns=["onnx/*"],  # graphs of an earlier model
        )  # fmt: skip
    except ConfigError:
        raise
    except Exception as error:  # errors of the hub's HTTP library have no common public class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(token, "(token)")
        raise ConfigError(f"{name} was not uploaded: {_TOKEN.sub('(token)', reason)}; {kept}") from error
    return str(done.commit_url)
