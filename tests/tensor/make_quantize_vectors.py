"""Writes tests/fixtures/quant/quantize.gguf: rows of weights and what gguf-py's quantisers make of them.

    pip install gguf numpy; python make_quantize_vectors.py quantize.gguf [library]

With a library that exports ggml_quantize_chunk (the shared object of PyPI's xllamacpp does), also prints the root mean
square error that ggml's own K quantisers leave on those rows: the bounds of quantize_test.cpp.
"""

import ctypes
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type, GGUFWriter, quants

DIRECT = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"]
SEARCHED = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]


def rows():
    rng = np.random.default_rng(1)
    out = 0.02 * rng.standard_normal((10, 512))
    out[1] = 0.02 * rng.standard_t(3, 512)
    out[2] = np.abs(out[2])
    out[3] *= np.exp(2 * rng.standard_normal(512))
    out[4, :256] = 0
    out[5, :] = -0.75
    out[6] = np.round(out[6] * 100) / 8  # ties
    out[7] *= 1e-6  # scales below the smallest normal binary16
    out[8] *= 1e4
    out[9] = np.exp2(rng.integers(-6, 6, 512)) * rng.choice([-1, 1], 512)
    return out.astype(np.float32)


def ggml_quantize(library, type_name, x):
    block, size = GGML_QUANT_SIZES[Type[type_name]]
    out = np.zeros((x.shape[0], x.shape[1] // block * size), np.uint8)
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    pointer = lambda a: a.ctypes.data_as(ctypes.c_void_p)
    library.ggml_quantize_chunk(int(Type[type_name]), pointer(x), pointer(out), ctypes.c_int64(0),
                                ctypes.c_int64(x.shape[0]), ctypes.c_int64(x.shape[1]), None)
    return out


def main():
    x = rows()
    writer = GGUFWriter(sys.argv[1], "none")
    writer.add_tensor("input", x)
    for name in DIRECT:
        writer.add_tensor(name, quants.quantize(x, Type[name]), raw_dtype=Type[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if len(sys.argv) > 2:
        library = ctypes.CDLL(sys.argv[2])
        for name in SEARCHED:
            for row in (0, 1):
                one = x[row:row + 1].copy()
                error = quants.dequantize(ggml_quantize(library, name, one), Type[name]) - one
                print(f"{name} row {row}: {np.sqrt((error ** 2).mean()):.6g}")


main()
