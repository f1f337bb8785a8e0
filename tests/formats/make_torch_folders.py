#!/usr/bin/env python3
"""Writes models of the fixtures as Hugging Face folders from before safetensors: pytorch_model.bin, alone and in shards.

Usage: make_torch_folders.py tests/fixtures/models   (needs numpy)
"""
import json
import pathlib
import shutil
import struct
import sys

import numpy as np

from torch_writer import BFloat16, Float, Storage, Tensor, save

models = pathlib.Path(sys.argv[1])


def bf16_tensors(path):
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    for name, tensor in header.items():
        assert tensor["dtype"] == "BF16", name
        begin, end = (8 + length + offset for offset in tensor["data_offsets"])
        yield name, Tensor(Storage(BFloat16, np.frombuffer(raw[begin:end], np.uint16)), tensor["shape"])


def folder(source):
    out = models / f"{source}-bin"
    out.mkdir(exist_ok=True)
    shutil.copy(models / source / "config.json", out)
    reference = {"same_weights_as": source, "reference": f"../{source}/reference.safetensors"}
    (out / "reference.json").write_text(json.dumps(reference, indent=2) + "\n")
    return out, dict(bf16_tensors(models / source / "model.safetensors"))


def single():
    out, tensors = folder("mistral-full")
    # Old files carry the rotation's frequencies, which are computed from the base: 16 wide heads, base 1e6.
    frequencies = Storage(Float, (1e6 ** (-np.arange(8) / 8)).astype(np.float32))
    for layer in range(2):
        tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = Tensor(frequencies, (8,))
    save(out / "pytorch_model.bin", tensors)


def sharded():
    out, tensors = folder("mixtral")
    names = sorted(tensors)
    shards = [names[: len(names) // 2], names[len(names) // 2 :]]
    weight_map = {}
    for number, part in enumerate(shards, 1):
        name = f"pytorch_model-{number:05}-of-{len(shards):05}.bin"
        save(out / name, {tensor: tensors[tensor] for tensor in part})
        weight_map.update({tensor: name for tensor in part})
    size = sum(tensor.storage.array.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (out / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")


single()
sharded()
