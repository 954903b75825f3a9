"""The supported encoder families, one declaration each; see `docs/add-an-encoder.md`. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import CONFIG_MAPPING, PretrainedConfig

from iter_lightning.registry import Registry


@dataclass(frozen=True)
class EncoderFamily:
    """Declare a family of encoders: all that its models share beyond their configuration.

    Example:
        >>> FAMILIES["roberta"].shifted_positions
        True
    """

    name: str
    """The `model_type` in the configuration of its models."""
    config_keys: tuple[str, ...] = ()
    """Keys of the architecture that transformers reads, but which the configuration class does not declare."""
    encoder_class: str | None = None
    """Class of transformers without a decoder, for families whose usual class has one that is not dropped."""
    shifted_positions: bool = False
    """Whether positions start after the padding index."""
    relative_positions: bool = False
    """Whether positions are relative only, so that inputs may have any length."""
    packs_varlen: bool = False
    """Whether it looks up attention by name and accepts position ids, or has no absolute positions."""
    packs_rows: bool = False
    """Whether it accepts a block-diagonal mask."""
    onnx: bool = False
    """Whether its export to ONNX is tested."""
    config_class: type[PretrainedConfig] | None = None
    """Configuration class, for families that are not in transformers."""
    model_class: Any = None
    """`PreTrainedModel` that returns hidden states, for families that are not in transformers."""

    @property
    def configuration(self) -> type[PretrainedConfig]:
        """Return the configuration class."""
        return self.config_class or CONFIG_MAPPING[self.name]


_DEBERTA = (
    "attention_head_size", "conv_act", "conv_groups", "conv_kernel_size", "embedding_size", "norm_rel_ebd",
    "position_buckets", "share_att_key", "talking_head",
)  # fmt: skip
_T5 = ("dense_act_fn", "is_gated_act", "scale_decoder_outputs", "tie_word_embeddings")
_ROPE = ("partial_rotary_factor", "rope_scaling", "rope_theta")
_MODERNBERT = (*_ROPE, "global_attn_every_n_layers", "global_rope_theta", "head_dim", "local_rope_theta")
_OWN = (
    EncoderFamily("albert", packs_varlen=True, packs_rows=True, onnx=True),
    EncoderFamily("bart", onnx=True),
    EncoderFamily("bert", packs_varlen=True, packs_rows=True, onnx=True),
    EncoderFamily("camembert", shifted_positions=True, packs_varlen=True, packs_rows=True),
    EncoderFamily("deberta", _DEBERTA),
    EncoderFamily("deberta-v2", _DEBERTA, onnx=True),  # DeBERTa-v3, too
    EncoderFamily("electra"),
    EncoderFamily("ernie"),
    EncoderFamily("eurobert", _ROPE),
    EncoderFamily("longt5", _T5, "LongT5EncoderModel", relative_positions=True),
    EncoderFamily("mbart"),
    EncoderFamily("megatron-bert"),
    EncoderFamily("modernbert", _MODERNBERT, packs_varlen=True, onnx=True),  # rows would lose its sliding window
    EncoderFamily("mpnet", shifted_positions=True),
    EncoderFamily("mt5", _T5, "MT5EncoderModel", relative_positions=True, packs_rows=True),
    EncoderFamily("nomic_bert", _ROPE),
    EncoderFamily("rembert"),
    EncoderFamily("roberta", shifted_positions=True, packs_varlen=True, packs_rows=True, onnx=True),
    EncoderFamily("roberta-prelayernorm", shifted_positions=True),
    EncoderFamily("t5", _T5, "T5EncoderModel", relative_positions=True, packs_rows=True, onnx=True),  # FLAN-T5, too
    EncoderFamily("umt5", _T5, "UMT5EncoderModel", relative_positions=True),
    EncoderFamily("xlm-roberta", shifted_positions=True, packs_varlen=True, packs_rows=True),
    EncoderFamily("xlm-roberta-xl", shifted_positions=True),
)
FAMILIES: Registry[EncoderFamily] = Registry(EncoderFamily, "encoder family", "iter_lightning.encoders", _OWN)
"""All families by `model_type`. Installed packages add theirs under the entry point `iter_lightning.encoders`."""


def family_of(config: PretrainedConfig) -> EncoderFamily:
    """Return the family of an encoder; one without any property if it is not in `FAMILIES`."""
    return FAMILIES[config.model_type] if config.model_type in FAMILIES else EncoderFamily(config.model_type)


def register_encoder(family: EncoderFamily) -> EncoderFamily:
    """Add a family to `FAMILIES`, for the current process.

    To add a family to the command line, name it under the entry point `iter_lightning.encoders` of an installed
    package.

    Args:
        family: the declaration. It is trusted: its classes run code when a model of the family is loaded.

    Returns:
        the same declaration.

    Raises:
        ConfigError: another family has the name.

    Example:
        >>> register_encoder(EncoderFamily("distilbert")).name  # doctest: +SKIP
        'distilbert'
    """
    return FAMILIES.register(family)
