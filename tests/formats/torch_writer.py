"""Writes the records and the pickle that torch.save writes; its classes are stood in for by name, so torch is not needed."""
import collections
import io
import pickle
import sys
import types
import zipfile


class Storage:
    def __init__(self, kind, array):
        self.kind, self.array, self.key = kind, array, None


class Tensor:
    def __init__(self, storage, shape, offset=0):
        self.storage, self.shape, self.offset = storage, shape, offset

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


Float, Half, BFloat16 = (stand_in("torch", name) for name in ("FloatStorage", "HalfStorage", "BFloat16Storage"))
stand_in("torch._utils", "_rebuild_tensor_v2")


def save(path, tensors):
    """tensors: {name: Tensor}; storages may be shared."""
    storages = list(dict.fromkeys(tensor.storage for tensor in tensors.values()))
    for number, storage in enumerate(storages):
        storage.key = str(number)
    data = io.BytesIO()
    Pickler(data, protocol=2).dump(collections.OrderedDict(tensors))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:

        def put(name, content):
            archive.writestr(zipfile.ZipInfo(f"{path.stem}/{name}", (1980, 1, 1, 0, 0, 0)), content)

        put("data.pkl", data.getvalue())
        put("byteorder", "little")
        for storage in storages:
            put(f"data/{storage.key}", storage.array.tobytes())
        put("version", "3\n")
