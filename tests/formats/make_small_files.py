#!/usr/bin/env python3
"""Writes small.gguf, small.safetensors and small.pth with the public writers: gguf, safetensors and pickle.

Usage: make_small_files.py tests/fixtures/formats   (needs the packages gguf, safetensors and numpy)
The torch file has the records and the pickle that torch.save writes; its classes are stood in for by name.
"""
import collections
import io
import pathlib
import pickle
import sys
import types
import zipfile

import gguf
import numpy as np
import safetensors
import safetensors.numpy

out = pathlib.Path(sys.argv[1])


def ramp(count, dtype):
    return (np.arange(count) / 8 - 3).astype(dtype)


def small_gguf():
    writer = gguf.GGUFWriter(out / "small.gguf", "test")
    writer.add_bool("test.bool", True)
    writer.add_float32("test.f32", 1e-5)
    writer.add_float64("test.f64", 0.1)
    for bits in (8, 16, 32, 64):
        getattr(writer, f"add_int{bits}")(f"test.i{bits}", -(2 ** (bits - 1)))
        getattr(writer, f"add_uint{bits}")(f"test.u{bits}", 2**bits - 1)
    writer.add_array("test.list.f32", [0.5, -1.5])
    writer.add_array("test.list.i32", [1, -2, 3])
    writer.add_array("test.list.text", ["a", "", "\u00e9"])
    writer.add_array("test.list.truth", [True, False])
    writer.add_string("test.text", "one line\nand another")
    writer.kv_data[0] = dict(sorted(writer.kv_data[0].items()))
    blocks = np.arange(3 * 34, dtype=np.uint8).reshape(3, 34)
    writer.add_tensor("float", ramp(6, np.float32).reshape(2, 3))
    writer.add_tensor("half", ramp(5, np.float16))
    writer.add_tensor("quant", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("cube", ramp(24, np.float32).reshape(2, 3, 4))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def small_safetensors():
    tensors = {
        "a.float": ramp(6, np.float32).reshape(2, 3),
        "b.int": np.arange(4, dtype=np.int32),
        "c.scalar": np.array(1.5, np.float32),
        "d.half": ramp(5, np.float16),
        "e.byte": np.arange(3, dtype=np.uint8),
    }
    (out / "small.safetensors").write_bytes(safetensors.numpy.save(tensors, metadata={"format": "pt"}))


class Storage:
    def __init__(self, kind, key, array):
        self.kind, self.key, self.array = kind, key, array


class Tensor:
    def __init__(self, storage, offset, shape):
        self.storage, self.offset, self.shape = storage, offset, shape

    def __reduce__(self):
        strides, step = [], 1
        for size in reversed(self.shape):
            strides.insert(0, step)
            step *= size
        hooks = collections.OrderedDict()
        arguments = (self.storage, self.offset, tuple(self.shape), tuple(strides), False, hooks)
        return sys.modules["torch._utils"]._rebuild_tensor_v2, arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return "storage", obj.kind, obj.key, "cpu", obj.array.size
        return None


def stand_in(module, name):
    made = type(name, (), {"__module__": module})
    sys.modules.setdefault(module, types.ModuleType(module))
    setattr(sys.modules[module], name, made)
    return made


def small_torch():
    kinds = {name: stand_in("torch", name) for name in ("FloatStorage", "HalfStorage", "BFloat16Storage")}
    stand_in("torch._utils", "_rebuild_tensor_v2")
    floats = Storage(kinds["FloatStorage"], "0", ramp(12, np.float32))
    halves = Storage(kinds["HalfStorage"], "1", ramp(5, np.float16))
    brains = Storage(kinds["BFloat16Storage"], "2", (ramp(8, np.float32).view(np.uint32) >> 16).astype(np.uint16))
    tensors = collections.OrderedDict(
        whole=Tensor(floats, 0, (3, 4)),
        rows=Tensor(floats, 4, (2, 4)),  # a view into the same storage
        half=Tensor(halves, 0, (5,)),
        brain=Tensor(brains, 0, (2, 2, 2)),
    )
    data = io.BytesIO()
    Pickler(data, protocol=2).dump(tensors)
    with zipfile.ZipFile(out / "small.pth", "w", zipfile.ZIP_STORED) as archive:

        def put(name, content):
            archive.writestr(zipfile.ZipInfo(f"small/{name}", (1980, 1, 1, 0, 0, 0)), content)

        put("data.pkl", data.getvalue())
        put("byteorder", "little")
        for storage in (floats, halves, brains):
            put(f"data/{storage.key}", storage.array.tobytes())
        put("version", "3\n")


small_gguf()
small_safetensors()
small_torch()
