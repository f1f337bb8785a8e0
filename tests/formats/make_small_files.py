#!/usr/bin/env python3
"""Writes small.gguf, small.safetensors and small.pth with the public writers: gguf, safetensors and pickle.

Usage: make_small_files.py tests/fixtures/formats   (needs the packages gguf, safetensors and numpy)
"""
import pathlib
import sys

import gguf
import numpy as np
import safetensors.numpy

from torch_writer import BFloat16, Float, Half, Storage, Tensor, save

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


def small_torch():
    floats = Storage(Float, ramp(12, np.float32))
    halves = Storage(Half, ramp(5, np.float16))
    brains = Storage(BFloat16, (ramp(8, np.float32).view(np.uint32) >> 16).astype(np.uint16))
    tensors = {
        "whole": Tensor(floats, (3, 4)),
        "rows": Tensor(floats, (2, 4), offset=4),  # a view into the same storage
        "half": Tensor(halves, (5,)),
        "brain": Tensor(brains, (2, 2, 2)),
    }
    save(out / "small.pth", tensors)


small_gguf()
small_safetensors()
small_torch()
