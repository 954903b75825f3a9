"""Model folders that are damaged, do not fit together, ask for impossible sizes or carry code."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel
from transformers.integrations import hub_kernels

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.model import IterModel
from iter_lightning.model.families import FAMILIES as MODEL_TYPES
from tests.builders import FAMILIES, SCHEMA, TOKENIZERS, metaspace_tokenizer, tiny_config, tiny_model
from tests.model.test_published_checkpoints import publish
from tests.reliability.campaign import Campaign

pytestmark = pytest.mark.reliability

WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 2, 1.5, 10**7, 10**30, float("nan"), "x", "", "owner/repo", [], [1], ["a", "b"], {}, {"a": 1},
    [[[[]]]],
)  # fmt: skip
NOT_OBJECTS = ("", "null", "[]", "3", "{", '"x"', "[" * 100_000, '{"a":' * 50_000)
DOCUMENT = Document.from_words([["Ada", "lives", "in", "London", ".", "Zürich", "北京", "don't"]])


def read(folder: Path) -> None:
    """Load a model and read a document: a model that loads must be able to read."""
    Extractor.from_pretrained(folder, language=None, device="cpu")(DOCUMENT)


def read_encoder(folder: Path) -> None:
    """Build a new model on an encoder and read a document."""
    model = IterModel.from_encoder(str(folder), SCHEMA).eval()
    model.predict(DOCUMENT.examples("sentence"))


def refused(campaign: Campaign, folder: Path, *expected: str, load: Callable[[Path], None] = read) -> None:
    """Check that a folder is refused within seconds, in one line and a hint, with `expected` in the message."""
    check(campaign.raises(load, folder, limit_s=30), folder, *expected)


def check(message: str | None, folder: Path, *expected: str) -> None:
    """Check that a message is one line and a hint, and holds the folder and `expected`."""
    if message is None:
        return
    lines = message.splitlines()
    assert not [line for line in lines[1:] if not line.startswith("  ")], message
    assert len(lines[0]) < 1500, message
    for text in (str(folder), *expected):
        assert text in message, message


@pytest.fixture
def folder(campaign: Campaign) -> Path:
    """A model on a tiny BERT."""
    tiny_model("bert", omega=2).save_pretrained(campaign.folder / "model")
    return campaign.folder / "model"


def encoder_folder(folder: Path, family: str = "bert") -> Path:
    """An encoder as the hub has it."""
    AutoModel.from_config(tiny_config(family)).save_pretrained(folder)
    TOKENIZERS[FAMILIES[family][1]]().save_pretrained(folder)
    return folder


def edit(file: Path, values: dict[str, Any], place: str | None = None) -> None:
    """Change values in a JSON file, or in the object at a key of it."""
    content = json.loads(file.read_text())
    (content if place is None else content[place]).update(values)
    file.write_text(json.dumps(content))


def mutations(values: Any, count: int, rng: random.Random) -> Iterator[tuple[tuple[Any, ...], Any, str]]:
    """Copies of a JSON object, each with one value replaced or removed: its keys, the new value, the text."""
    keys = list(_paths(values))
    for _ in range(count):
        path, wrong = rng.choice(keys), rng.choice((*WRONG, "remove it"))
        changed = json.loads(json.dumps(values))
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        if wrong == "remove it":
            del inner[path[-1]]
        else:
            inner[path[-1]] = wrong
        yield path, wrong, json.dumps(changed)


def _paths(values: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = values.items() if isinstance(values, dict) else enumerate(values[:3]) if isinstance(values, list) else ()
    for key, value in items:
        yield (*before, key)
        yield from _paths(value, (*before, key))


def mutate(campaign: Campaign, file: Path, count: int, load: Callable[[Path], None] = read) -> None:
    """Try mutations of a JSON file, and texts that are none."""
    text = file.read_text()
    for _, _, changed in mutations(json.loads(text), count, random.Random(file.name)):
        file.write_text(changed)
        check(campaign.tries(load, file.parent, limit_s=30), file.parent)
    for changed in NOT_OBJECTS:
        file.write_text(changed)
        refused(campaign, file.parent, load=load)
    file.write_text(text)


# item 7: a model folder is data --------------------------------------------------------------------------------------


@pytest.fixture
def kernels(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have transformers believe that the package `kernels` is there; loading a kernel writes the canary."""

    def get_kernel(*arguments: Any, **options: Any) -> Any:
        campaign.canary.write_text(f"get_kernel{arguments}")
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(hub_kernels, "get_kernel_hub", get_kernel, raising=False)
    monkeypatch.setattr(hub_kernels, "is_kernels_available", lambda *_, **__: True)
    monkeypatch.setattr("transformers.modeling_utils.is_kernels_available", lambda *_, **__: True)


CODE: tuple[dict[str, Any], ...] = (
    {"_attn_implementation": "owner/repo"}, {"attn_implementation": "owner/repo"},
    {"_attn_implementation_internal": "owner/repo"}, {"_attn_implementation": "flash_attention_2"},
    {"_attn_implementation": {"": "owner/repo"}}, {"attn_implementation": "kernels-community/flash-attn2"},
    {"_experts_implementation": "owner/repo"}, {"experts_implementation": "owner/repo"},
    {"auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"}, "trust_remote_code": True},
    {"auto_map": {"AutoConfig": "owner/repo--code.C", "AutoModel": "owner/repo--code.M"}},
    {"quantization_config": {"quant_method": "gptq", "bits": 4}}, {"use_kernels": True},
    {"fusion_config": {"a": "owner/repo"}}, {"per_layer_config": {"0": {"_attn_implementation": "owner/repo"}}},
    {"text_config": {"_attn_implementation": "owner/repo"}}, {"transformers_weights": "../../weights.safetensors"},
    {"tokenizer_class": "BertModel"}, {"dtype": "os"}, {"_name_or_path": "owner/repo", "torchscript": True},
)  # fmt: skip


def plant_code(campaign: Campaign, folder: Path) -> None:
    """Put Python files that write the canary beside a model."""
    for name in ("code.py", "modeling.py", "configuration.py", "tokenization.py", "__init__.py", "kernels.py"):
        (folder / name).write_text(f"open({str(campaign.canary)!r}, 'w').write('{name}')\nclass C: ...\nclass M: ...\n")


@pytest.mark.parametrize("family", ["bert", "modernbert"])
@pytest.mark.usefixtures("kernels")
def test_keys_that_load_code_are_ignored(campaign: Campaign, family: str) -> None:
    ours, encoder = campaign.folder / "model", encoder_folder(campaign.folder / "encoder", family)
    tiny_model(family).save_pretrained(ours)
    theirs = publish(campaign.folder / "published", family)
    for target in (ours, encoder, theirs):
        plant_code(campaign, target)
    for values in CODE:
        for target, load, place in (
            (ours, read, "encoder"), (encoder, read_encoder, None), (theirs, read, "transformer_config")
        ):  # fmt: skip
            text = (target / "config.json").read_text()
            edit(target / "config.json", values, place)
            check(campaign.tries(load, target), target)
            (target / "config.json").write_text(text)


@pytest.mark.usefixtures("kernels")
def test_a_tokenizer_class_cannot_be_a_model(campaign: Campaign, folder: Path) -> None:
    """By an unknown name transformers finds any of its classes, which would read the configuration unchecked."""
    encoder = encoder_folder(campaign.folder / "encoder")
    plant_code(campaign, encoder)
    edit(encoder / "config.json", {"_attn_implementation": "owner/repo"})
    for name in ("BertModel", "AutoModel", "AutoModelForCausalLM", "pipeline", "Trainer", "BertModelFast", 3):
        edit(encoder / "tokenizer_config.json", {"tokenizer_class": name})
        refused(campaign, encoder, "tokenizer_class", load=read_encoder)
    for name, auto_map in (("Nothing", ["code.C", "code.C"]), (None, {"AutoTokenizer": ["x/y--code.C", None]})):
        edit(folder / "tokenizer_config.json", {"tokenizer_class": name, "auto_map": auto_map})
        plant_code(campaign, folder)
        check(campaign.tries(read, folder), folder)


def test_a_model_type_outside_the_families_is_refused(campaign: Campaign, folder: Path) -> None:
    for model_type in ("yoso", "mra", "rwkv", "mamba", "llama", "timm_wrapper", "encoder-decoder", "iter", "", None, 3):
        assert model_type not in MODEL_TYPES
        edit(folder / "config.json", {"model_type": model_type}, "encoder")
        refused(campaign, folder, "config.json", "encoder.model_type")


KERNELS = """
import functools, os
def get_kernel(*arguments, **options):
    open(os.environ["CANARY"], "w").write(f"get_kernel{arguments}")
    raise RuntimeError("no such kernel")
def decorator(*_, **__):
    return lambda wrapped: wrapped
use_kernel_forward_from_hub = use_kernelized_func = use_kernel_func_from_hub = decorator
replace_kernel_forward_from_hub = decorator
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {"__init__": lambda self, *_, **__: None})
"""


def test_a_stand_in_for_the_kernels_package_is_not_called(campaign: Campaign, folder: Path) -> None:
    site = campaign.folder / "site"
    (site / "kernels" / "layer").mkdir(parents=True)
    (site / "kernels" / "__init__.py").write_text(KERNELS)
    (site / "kernels-0.18.2.dist-info").mkdir()
    (site / "kernels-0.18.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: kernels\nVersion: 0.18.2\n"
    )
    edit(folder / "config.json", {"_attn_implementation": "owner/repo"}, "encoder")
    text = campaign.folder / "a.txt"
    text.write_text("Ada lives in London.\n")
    root = str(Path(__file__).parents[2])
    outcome = campaign.process(
        ["extract", str(folder), str(text), "-o", str(campaign.folder / "out.jsonl"), "--device", "cpu"],
        env={"PYTHONPATH": f"{site}{os.pathsep}{root}", "CANARY": str(campaign.canary)},
    )
    assert outcome.status == 0, outcome.stderr


class Payload:
    """Writes the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.write_text, (self.canary, "unpickled")


def test_pickles_execute_nothing(campaign: Campaign) -> None:
    theirs, encoder = publish(campaign.folder / "published"), encoder_folder(campaign.folder / "encoder")
    for target, load in ((theirs, read), (encoder, read_encoder)):
        tensors = load_file(target / "model.safetensors")
        (target / "model.safetensors").unlink()
        payload, file = Payload(campaign.canary), target / "pytorch_model.bin"
        for zipped in (True, False):
            torch.save({**tensors, "x": payload}, file, _use_new_zipfile_serialization=zipped)
            refused(campaign, target, "pytorch_model.bin", load=load)
        for protocol in range(5):
            file.write_bytes(pickle.dumps(payload, protocol=protocol))
            refused(campaign, target, "pytorch_model.bin", load=load)
        torch.save(tensors, file)
        assert campaign.tries(load, target) is None
        (target / ".metadata").write_bytes(pickle.dumps(payload))
        (target / "training_args.bin").write_bytes(pickle.dumps(payload))
        assert campaign.tries(load, target) is None
        file.rename(target / "shard.bin")
        index = target / "pytorch_model.bin.index.json"
        for name in ("../x.bin", str(file), "shard.bin", None, 3):
            index.write_text(json.dumps({"weight_map": dict.fromkeys(tensors, name)}))
            if name == "shard.bin":
                assert campaign.tries(load, target) is None
            else:
                refused(campaign, target, "weight_map", load=load)


# item 8: wrong types and impossible sizes ----------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "value", "expected"), [
    ("num_hidden_layers", 10**7, "encoder.num_hidden_layers"), ("num_hidden_layers", "2", "encoder.num_hidden_layers"),
    ("hidden_size", 30, "encoder.hidden_size"), ("hidden_size", 10**6, "model.safetensors"),
    ("hidden_size", None, "encoder.hidden_size"), ("hidden_size", True, "encoder.hidden_size"),
    ("num_attention_heads", 0, "encoder.num_attention_heads"), ("intermediate_size", 10**7, "model.safetensors"),
    ("vocab_size", 10**7, "model.safetensors"), ("vocab_size", 10**18, "encoder.vocab_size"),
    ("vocab_size", [200], "encoder.vocab_size"), ("max_position_embeddings", 10**7, "model.safetensors"),
    ("hidden_act", "nothing", "encoder"), ("hidden_act", {"a": 1}, "encoder.hidden_act"),
    ("layer_norm_eps", "small", "encoder.layer_norm_eps"), ("layer_norm_eps", float("nan"), "encoder.layer_norm_eps"),
    ("pad_token_id", 10**6, "encoder.pad_token_id"), ("type_vocab_size", "x", "encoder.type_vocab_size"),
])  # fmt: skip
def test_an_impossible_encoder_is_refused(
    campaign: Campaign, folder: Path, key: str, value: Any, expected: str
) -> None:
    edit(folder / "config.json", {key: value}, "encoder")
    refused(campaign, folder, "config.json", expected)


@pytest.mark.parametrize(("schema", "expected"), [
    ({"entity_types": [1, 2, 3]}, "entity_types"), ({"entity_types": [None, "a", "b"]}, "entity_types"),
    ({"entity_types": "Loc"}, "entity_types"), ({"entity_types": ["a", "b", "\ud800"]}, "entity_types"),
    ({"entity_types": ["a", "b", ""]}, "entity_types"), ({"relation_types": {"Kin": 1}}, "relation_types"),
    ({"symmetric": None}, "symmetric"), ({"entity_types": [str(n) for n in range(10**6)]}, "is_span"),
    ({"relation_types": [f"r{n}" for n in range(10**6)], "symmetric": [f"r{n}" for n in range(10**6)]}, "is_link"),
])  # fmt: skip
def test_impossible_labels_are_refused(campaign: Campaign, folder: Path, schema: dict[str, Any], expected: str) -> None:
    edit(folder / "config.json", schema, "schema")
    refused(campaign, folder, "config.json", expected)


@pytest.mark.parametrize("family", ["bert", "roberta", "t5", "albert", "bart", "deberta_v3", "modernbert"])
def test_any_wrong_value_in_a_configuration_is_met(campaign: Campaign, family: str) -> None:
    tiny_model(family, omega=2).save_pretrained(campaign.folder / "model")
    mutate(campaign, campaign.folder / "model" / "config.json", 40)


def test_wrong_values_in_published_and_encoder_folders_are_met(campaign: Campaign) -> None:
    mutate(campaign, publish(campaign.folder / "published") / "config.json", 80)
    for family in ("bert", "t5", "bart"):
        mutate(campaign, encoder_folder(campaign.folder / family, family) / "config.json", 30, read_encoder)


# tokenizers ----------------------------------------------------------------------------------------------------------


def test_a_tokenizer_larger_than_the_embeddings_is_refused(campaign: Campaign, folder: Path) -> None:
    shutil.copytree(folder, campaign.folder / "other")
    metaspace_tokenizer().save_pretrained(campaign.folder / "other")  # smaller: nothing but its words tell
    assert campaign.tries(read, campaign.folder / "other") is None
    TOKENIZERS["byte_level"]().save_pretrained(folder)
    refused(campaign, folder, "tokenizer", "different models")
    encoder = encoder_folder(campaign.folder / "encoder")
    TOKENIZERS["byte_level"]().save_pretrained(encoder)
    refused(campaign, encoder, "tokenizer", "different models", load=read_encoder)


@pytest.mark.parametrize("family", ["bert", "deberta_v2", "modernbert"])
def test_damaged_tokenizer_files_are_met(campaign: Campaign, family: str) -> None:
    model = campaign.folder / "model"
    tiny_model(family).save_pretrained(model)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        mutate(campaign, model / name, 40)
    text = (model / "tokenizer.json").read_bytes()
    for length in range(0, len(text), len(text) // 10):
        (model / "tokenizer.json").write_bytes(text[:length])
        refused(campaign, model)


# files ---------------------------------------------------------------------------------------------------------------


def test_files_that_are_not_regular_are_refused(campaign: Campaign, folder: Path) -> None:
    encoder = encoder_folder(campaign.folder / "encoder")
    for target, load in ((folder, read), (encoder, read_encoder)):
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            path, kept = target / name, (target / name).read_bytes()
            for kind in ("fifo", "folder", "/dev/zero", "/none"):
                path.unlink()
                if kind == "fifo":
                    os.mkfifo(path)
                elif kind == "folder":
                    path.mkdir()
                else:
                    path.symlink_to(kind)
                refused(campaign, target, name, load=load)
                path.rmdir() if path.is_dir() else path.unlink()
                path.write_bytes(kept)


def with_header(body: bytes, header: dict[str, Any]) -> bytes:
    """A safetensors file."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_damaged_tensors_are_refused(campaign: Campaign, folder: Path) -> None:
    rng = random.Random(8)
    theirs, encoder = publish(campaign.folder / "published"), encoder_folder(campaign.folder / "encoder")
    for target, load in ((folder, read), (theirs, read), (encoder, read_encoder)):
        file = target / "model.safetensors"
        whole = file.read_bytes()
        size = struct.unpack("<Q", whole[:8])[0]
        header, body = json.loads(whole[8 : 8 + size]), whole[8 + size :]
        for length in (0, 1, 7, 8, 9, size, size + 8, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(20))):
            file.write_bytes(whole[:length])
            refused(campaign, target, "model.safetensors", load=load)
        for length in (0, 1, size - 1, size + 1, 2**40, 2**63):
            file.write_bytes(struct.pack("<Q", length) + whole[8:])
            refused(campaign, target, "model.safetensors", load=load)
        for _ in range(30):
            name = rng.choice([name for name in header if name != "__metadata__"])
            key, wrong = rng.choice([
                ("shape", [10**12, 10**12]), ("shape", []), ("shape", [-1]), ("shape", None), ("dtype", "XX"),
                ("dtype", 3), ("data_offsets", [0, 10**15]), ("data_offsets", [5, 1]), ("data_offsets", None),
            ])  # fmt: skip
            file.write_bytes(with_header(body, {**header, name: {**header[name], key: wrong}}))
            refused(campaign, target, "model.safetensors", load=load)
        file.write_bytes(whole)


def test_missing_tensors_of_an_encoder_are_not_replaced_by_random_ones(campaign: Campaign) -> None:
    encoder = encoder_folder(campaign.folder / "encoder")
    edit(encoder / "config.json", {"num_hidden_layers": 3})
    refused(campaign, encoder, "model.safetensors", "missing", load=read_encoder)
    edit(encoder / "config.json", {"num_hidden_layers": 200, "intermediate_size": 10**6})
    refused(campaign, encoder, "model.safetensors", load=read_encoder)


def test_damaged_pickles_are_refused_or_read(campaign: Campaign) -> None:
    rng, theirs = random.Random(9), publish(campaign.folder / "published")
    tensors = load_file(theirs / "model.safetensors")
    (theirs / "model.safetensors").unlink()
    file = theirs / "pytorch_model.bin"
    for content in (b"", b"\x80", b"PK\x03\x04", b"null", *(rng.randbytes(rng.randrange(300)) for _ in range(30))):
        file.write_bytes(content)
        refused(campaign, theirs, "pytorch_model.bin")
    for zipped in (True, False):
        torch.save(tensors, file, _use_new_zipfile_serialization=zipped)
        whole = file.read_bytes()
        for _ in range(15):
            file.write_bytes(whole[: rng.randrange(len(whole))])
            refused(campaign, theirs, "pytorch_model.bin")
        for _ in range(25):
            flipped = bytearray(whole)
            flipped[rng.randrange(min(3000, len(whole)))] ^= 1 << rng.randrange(8)
            file.write_bytes(flipped)
            check(campaign.tries(read, theirs, limit_s=30), theirs)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_fault_is_not_reported_as_one_of_the_device(campaign: Campaign, folder: Path, name: str) -> None:
    (folder / name).write_text("null")
    message = campaign.raises(read, folder)
    assert "device" not in message


def test_a_command_reports_a_damaged_model_in_one_line(campaign: Campaign, folder: Path) -> None:
    edit(folder / "config.json", {"num_hidden_layers": 10**7}, "encoder")
    text = campaign.folder / "a.txt"
    text.write_text("Ada lives in London.\n")
    outcome = campaign.refused(
        ["extract", str(folder), str(text), "-o", str(campaign.folder / "out.jsonl"), "--device", "cpu"],
        "encoder.num_hidden_layers",
    )
    assert len(outcome.message.splitlines()) == 1
    assert not (campaign.folder / "out.jsonl").exists()


# exported graphs -----------------------------------------------------------------------------------------------------


def test_damaged_graphs_are_refused(campaign: Campaign, folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from iter_lightning.apps.onnx.export import export_onnx
    from iter_lightning.apps.onnx.manifest import sha256

    def read_graphs(target: Path) -> None:
        Extractor.from_pretrained(target, language=None, backend="onnx")(DOCUMENT)

    def signed(name: str, content: bytes) -> None:
        (graphs / name).write_bytes(content)
        edit(graphs / "manifest.json", {name: sha256(graphs / name)}, "files")

    export_onnx(folder)
    graphs = folder / "onnx"
    assert campaign.tries(read_graphs, folder) is None
    mutate(campaign, graphs / "manifest.json", 30, read_graphs)
    for name in ("encoder.onnx", "is_left.onnx"):
        whole, rng = (graphs / name).read_bytes(), random.Random(name)
        for content in (b"", b"graph", *(whole[: rng.randrange(len(whole))] for _ in range(5))):
            signed(name, content)
            refused(campaign, folder, "onnx", load=read_graphs)
        signed(name, (graphs / "is_span.onnx").read_bytes())  # another graph
        refused(campaign, folder, "onnx", load=read_graphs)
        signed(name, whole)
    (folder.parent / "outside").write_bytes(bytes(10**6))
    graph = onnx.load(graphs / "is_left.onnx")
    for location in ("../../outside", str(folder.parent / "outside")):
        for tensor in graph.graph.initializer:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            del tensor.external_data[:]
            tensor.external_data.add(key="location", value=location)
        signed("is_left.onnx", graph.SerializeToString())
        refused(campaign, folder, "is_left.onnx", load=read_graphs)
