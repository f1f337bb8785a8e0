#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets for checkpoint files: fuzz/make_corpus.py (from anywhere, no packages needed).

Beside the small files of tests/fixtures/formats: shapes of files that those do not have.
"""
import io
import pathlib
import pickle
import struct
import zipfile

here = pathlib.Path(__file__).resolve().parent
small = here.parent / "tests/fixtures/formats"


def put(target, name, content):
    folder = here / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def gguf(pairs, tensors, version=3, alignment=32):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs)
    data = b""
    for name, sizes, kind, count in tensors:
        out += string(name) + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes) + struct.pack("<IQ", kind, len(data))
        data += bytes(range(count % 256)) + bytes(count - count % 256)
        data += bytes(-len(data) % alignment)
    return out + bytes(-len(out) % alignment) + data


def u32(key, value):
    return string(key) + struct.pack("<II", 4, value)


def safetensors(header, data=b""):
    text = header.encode()
    return struct.pack("<Q", len(text)) + text + data


put("gguf", "small.gguf", (small / "small.gguf").read_bytes())
put("gguf", "empty.gguf", gguf([], []))
put("gguf", "version2.gguf", gguf([u32("a", 1)], [("w", [8], 0, 32)], version=2))
put("gguf", "aligned.gguf", gguf([u32("general.alignment", 8)], [("v", [3], 0, 12), ("w", [2, 2], 1, 8)], alignment=8))
put("gguf", "array.gguf", gguf([string("a") + struct.pack("<IIQ3Q", 9, 10, 3, 1, 2, 3)], []))
put("gguf", "blocks.gguf", gguf([], [("q", [256, 1], 12, 144), ("t", [256], 34, 54), ("m", [32], 39, 17)]))

put("safetensors", "small.safetensors", (small / "small.safetensors").read_bytes())
put("safetensors", "empty.safetensors", safetensors("{}"))
put("safetensors", "padded.safetensors", safetensors('{"__metadata__":{"a":"b"}}      '))
put(
    "safetensors",
    "zero.safetensors",
    safetensors('{"a":{"dtype":"F4","shape":[2,1],"data_offsets":[0,1]},"b":{"dtype":"I64","shape":[0],"data_offsets":[1,1]}}', b"x"),
)

put("pth", "small.pth", (small / "small.pth").read_bytes())
with zipfile.ZipFile(small / "small.pth") as archive:
    put("pth", "small.pickle", archive.read("small/data.pkl"))
put("pth", "plain.pickle", pickle.dumps({"w": (1, -2, 2**40, True, None)}, protocol=2))
deflated = io.BytesIO()
with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(zipfile.ZipInfo("m/data.pkl", (1980, 1, 1, 0, 0, 0)), b"\x80\x02}.", zipfile.ZIP_DEFLATED)
put("pth", "deflated.pth", deflated.getvalue())
# A state dict with its attribute, a parameter, a view, and a class that may not be named.
tensor = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\x10tQ"
    b"K\4K\2K\4\x86K\4K\1\x86\x89ccollections\nOrderedDict\n)Rtq\1R"
)
put("pth", "state.pickle", b"\x80\x02ccollections\nOrderedDict\n)R(X\1\0\0\0w" + tensor + b"u}X\1\0\0\0v}sb.")
put("pth", "parameter.pickle", b"\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_parameter\n(" + tensor + b"\x88}tRs.")
put("pth", "system.pickle", b"\x80\x02cos\nsystem\nX\2\0\0\0id\x85R.")

# Arrays as NumPy writes them, and 8-bit weights with their scales; no NumPy needed.
def text(content):
    return b"\x8c" + bytes([len(content)]) + content.encode()


def name(module, attribute):
    return text(module) + text(attribute) + b"\x93"


def dtype(code, order="<"):
    return name("numpy", "dtype") + code + b"\x89\x88\x87R(K\3" + text(order) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"


def array(kind, shape, content):
    sizes = b"(" + b"".join(b"K" + bytes([size]) for size in shape) + b"t"
    start = name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray") + b"K\0\x85C\1b\x87R"
    return start + b"(K\1" + sizes + kind + b"\x89B" + struct.pack("<I", len(content)) + content + b"tb"


int8, brain = dtype(text("i1"), "|"), dtype(name("ml_dtypes", "bfloat16"))
scaled = name("__main__", "QuantizedWeight8bit") + b")\x81}(" + text("weight") + array(int8, [64, 2], bytes(range(128)))
scaled += text("scales") + array(brain, [2, 2], b"\x80\x3f" * 4) + b"ub"
put("array_pickle", "floats", b"\x80\4" + array(dtype(text("f4")), [2, 1], bytes(8)) + b".")
put("array_pickle", "scaled", b"\x80\4\x95" + bytes(8) + scaled + b".")
put("array_pickle", "system", b"\x80\4" + name("os", "system") + text("id") + b"\x85R.")
