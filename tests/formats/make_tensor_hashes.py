#!/usr/bin/env python3
"""Writes checkpoints.tsv: what the public readers (gguf, safetensors, pickle) find in the models of the fixtures.

Usage: make_tensor_hashes.py SHARED_FIXTURES tests/fixtures/formats/checkpoints.tsv
(needs the packages gguf, safetensors and numpy)
Columns: path, number of tensors, hash of their rows "name<TAB>type<TAB>shape<TAB>hash of the bytes", sorted by name.
"""
import io
import json
import pathlib
import pickle
import struct
import sys
import zipfile

import gguf
import numpy as np


def fnv(data):
    """64-bit FNV-1a over little-endian 64-bit words, the last one padded with zeros."""
    data = bytes(data)
    data += bytes(-len(data) % 8)
    value = 0xCBF29CE484222325
    for word in np.frombuffer(data, dtype="<u8").tolist():
        value = (value ^ word) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def from_gguf(path):
    for tensor in gguf.GGUFReader(path).tensors:
        shape = [int(n) for n in reversed(tensor.shape.tolist())]
        yield tensor.name, tensor.tensor_type.name, shape, tensor.data.tobytes()


def from_safetensors(path):
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    # The public reader must agree that the file is sound; the bytes are cut out by hand, as numpy has no BF16.
    import safetensors

    names = set(safetensors.safe_open(str(path), "np").keys())
    assert names == set(header), path
    for name, tensor in header.items():
        begin, end = (8 + length + offset for offset in tensor["data_offsets"])
        yield name, tensor["dtype"], tensor["shape"], raw[begin:end]


class TorchUnpickler(pickle.Unpickler):
    def __init__(self, file, archive, root):
        super().__init__(file)
        self.archive, self.root = archive, root

    def persistent_load(self, pid):
        return pid[1], self.archive.read(f"{self.root}data/{pid[2]}")

    def find_class(self, module, name):
        if name == "_rebuild_tensor_v2":
            return lambda storage, offset, size, *rest: (storage[0], list(size), offset, storage[1])
        return dict if name == "OrderedDict" else name


def from_torch(path):
    archive = zipfile.ZipFile(path)
    member = next(n for n in archive.namelist() if n.endswith("data.pkl"))
    tensors = TorchUnpickler(io.BytesIO(archive.read(member)), archive, member[: -len("data.pkl")]).load()
    types = {"FloatStorage": ("F32", 4), "HalfStorage": ("F16", 2), "BFloat16Storage": ("BF16", 2)}
    for name, (storage, shape, offset, data) in tensors.items():
        dtype, width = types[storage]
        begin = offset * width
        yield name, dtype, shape, data[begin : begin + int(np.prod(shape)) * width]


READERS = {".gguf": from_gguf, ".safetensors": from_safetensors, ".pth": from_torch, ".pt": from_torch}

root, out = pathlib.Path(sys.argv[1]), sys.argv[2]
with open(out, "w", encoding="utf-8") as file:
    for path in sorted(p for p in root.glob("models*/**/*") if p.suffix in READERS):
        tensors = sorted(READERS[path.suffix](path), key=lambda tensor: tensor[0].encode())
        rows = [
            f"{name}\t{dtype.upper()}\t{','.join(map(str, shape))}\t{fnv(data):016x}\n"
            for name, dtype, shape, data in tensors
        ]
        file.write(f"{path.relative_to(root)}\t{len(rows)}\t{fnv(''.join(rows).encode()):016x}\n")
