"""Convert fitted state to JSON and tensors, and back. A file cannot choose which code runs.

JSON values are stored as they are. Any other value is an object with one key that starts with "$":
an array, a tuple, a dtype, a function of deltaprop by name, or an instance of a class. The caller
passes a function that looks up the permitted classes (:func:`deltaprop.files.classes.storable`).
Reading creates instances without calling their constructors, sets their attributes to decoded
values, and calls nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from deltaprop.errors import InputError
from deltaprop.functions import activations, losses
from deltaprop.functions.activations import Activation
from deltaprop.functions.losses import Loss

MAX_DEPTH = 40
DATES = re.compile(r"datetime64\[(s|ms|us|ns), [A-Za-z0-9_+\-:]+(/[A-Za-z0-9_+\-]+)*\]")
TIMES = re.compile(r"<[mM]8\[(Y|M|W|D|h|m|s|ms|us|ns)\]")
MAX_STRING_BYTES = 256_000_000  # bytes of all arrays of strings in a file
MAX_ITEM_BYTES = 100_000  # of a dtype
MAX_UNHASHED = 2000  # keys other than str, whose hashes an attacker could make equal


class ModelFileError(InputError):
    """A model file that cannot be read or written; the message names the file and the reason."""


class Storable(NamedTuple):
    """A class whose instances a file may contain, and checks of the instances that are read.

    `require_fields` raises an error; `is_consistent` is called if it does not.
    """

    cls: type
    is_consistent: Callable[[Any], bool] | None = None
    require_fields: Callable[[Any], None] | None = None


FindClass = Callable[[str], Storable | None]
"""Looks up a class by its name in files; returns None if files may not contain it."""


def no_classes(name: str) -> Storable | None:
    """Permit no classes, for files that contain only numbers and text."""
    return None


class Writer:
    """Encodes values. Arrays of numbers are collected in ``tensors``.

    Parameters
    ----------
    find_class : callable, default=no_classes
        Looks up the classes that may be stored.

    Examples
    --------
    >>> writer = Writer()
    >>> writer.encode({"a": (1, np.ones(2))}, "model")
    {'$dict': [['a', {'$tuple': [1, {'$tensor': 't0'}]}]]}
    >>> writer.tensors
    {'t0': array([1., 1.])}
    """

    def __init__(self, find_class: FindClass = no_classes) -> None:
        self.tensors: dict[str, np.ndarray] = {}
        self._find_class = find_class

    def encode(self, value: Any, path: str) -> Any:
        """`value` as JSON; `path` names the part of the model in error messages."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, np.generic):
            return {"$scalar": self.encode(value.item(), path), "dtype": value.dtype.str}
        if isinstance(value, (int, float)):
            return value if math.isfinite(value) else {"$float": repr(float(value))}
        if isinstance(value, np.ndarray):
            return self._array(value, path)
        if isinstance(value, np.dtype):
            return {"$dtype": value.str}
        if isinstance(value, type) and issubclass(value, np.generic):
            return {"$type": np.dtype(value).str}
        if isinstance(value, (list, tuple, set, frozenset, dict, range)):
            return self._collection(value, path)
        if isinstance(value, np.random.RandomState):
            return {"$random": self.encode(value.get_state(legacy=False), path)}
        if isinstance(value, Activation):
            return {"$activation": value.name}
        if isinstance(value, Loss):
            settings = {k: self.encode(v, path) for k, v in value.settings.items()}
            return {"$loss": value.name, "settings": settings, "ours": value.is_builtin}
        return self._object(value, path)

    def _collection(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            pairs = value.items()
            return {"$dict": [
                [self.encode(k, path), self.encode(v, f"{path}[{k!r}]")] for k, v in pairs
            ]}  # fmt: skip
        if isinstance(value, (set, frozenset)):
            return {"$set": [self.encode(item, path) for item in sorted(value, key=repr)]}
        items = [self.encode(item, f"{path}[{i}]") for i, item in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items

    def _array(self, array: np.ndarray, path: str) -> Any:
        if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
            name = f"t{len(self.tensors)}"
            self.tensors[name] = np.ascontiguousarray(array)
            return {"$tensor": name}
        if array.dtype.kind in "mM":  # times since 1970 and durations
            times = array.astype(array.dtype.newbyteorder("<"))
            return {"$times": self._array(times.view(np.int64), path), "dtype": times.dtype.str}
        if array.dtype.kind in "OUT":
            items = [self.encode(_plain(item), path) for item in array.ravel().tolist()]
            return {"$array": items, "shape": list(array.shape), "dtype": array.dtype.kind}
        raise ModelFileError(f"{path}: an array of dtype {array.dtype} cannot be saved.")

    def _object(self, value: Any, path: str) -> Any:
        name = type(value).__name__
        found = self._find_class(name)
        if found is not None and type(value) is found.cls:
            derived = _derived(found.cls)
            state = {
                k: self.encode(v, f"{path}.{k}") for k, v in vars(value).items() if k not in derived
            }
            return {"$object": name, "state": state}
        dtype = _pandas_dtype(value)
        if dtype is not None:
            return dtype
        raise ModelFileError(
            f"{path}: a value of type {type(value).__module__}.{name} cannot be saved. Model files "
            "contain numbers, text and the known parts of a model, never code."
        )


class Reader:
    """Decodes what :class:`Writer` encoded; raises ModelFileError for anything else.

    Parameters
    ----------
    tensors : dict of str to ndarray
        The tensors of the file.
    custom : mapping of str to Activation or Loss, optional
        Custom functions, which files contain by name only.
    find_class : callable, default=no_classes
        Looks up the classes that the file may contain.

    Attributes
    ----------
    used : set of str
        The tensors that decoded values have referred to so far.
    string_bytes : int
        The bytes of the arrays of strings that were decoded so far.

    Examples
    --------
    >>> Reader({"t0": np.ones(2)}).decode({"$tuple": [1, {"$tensor": "t0"}]})
    (1, array([1., 1.]))
    """

    def __init__(
        self,
        tensors: dict[str, np.ndarray],
        custom: Mapping[str, Any] | None = None,
        find_class: FindClass = no_classes,
    ) -> None:
        self.tensors, self.custom, self.used = tensors, dict(custom or {}), set[str]()
        self.string_bytes = self._unhashed = 0
        self._find_class = find_class

    def decode(self, value: Any, depth: int = 0) -> Any:
        """The value that this JSON encodes."""
        if depth > MAX_DEPTH:
            raise ModelFileError("its header is nested too deeply")
        if isinstance(value, list):
            return [self.decode(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        tags = [key for key in value if key.startswith("$")]
        if len(tags) != 1:
            raise ModelFileError("its header contains an object that is not one of the known kinds")
        if tags[0] not in self._decoders:
            raise ModelFileError(f"its header contains an unknown kind of value, {tags[0]!r}")
        return self._decoders[tags[0]](self, value, depth + 1)

    def custom_function(self, name: Any, kind: Literal["activation", "loss"]) -> Any:
        """The custom function of that name; None if the name is that of a built-in one."""
        if name in self.custom:
            return self.custom[name]
        built_in = activations.NAMES if kind == "activation" else losses.NAMES
        if name not in built_in:
            raise ModelFileError(
                f"it uses {name!r}, a custom {kind}, which is stored only by name. Load it with "
                f"dp.load(path, custom={{{name!r}: ...}})"
            )
        return None

    def _keys(self, keys: list[Any]) -> list[Any]:
        """The keys of a dict or set; ModelFileError if looking them up could take very long."""
        number = sum(type(key) is not str for key in keys)
        self._unhashed += number
        if number > MAX_UNHASHED or self._unhashed > 10 * MAX_UNHASHED:
            raise ModelFileError(
                f"its header has more than {MAX_UNHASHED} keys that are not strings"
            )
        return keys

    # ------------------------------------------------------------ one method for each tag

    def _float(self, value: dict[str, Any], depth: int) -> float:
        text = value["$float"]
        if text not in ("nan", "inf", "-inf"):
            raise ModelFileError(f"its header contains {text!r} instead of a number")
        return float(text)

    def _scalar(self, value: dict[str, Any], depth: int) -> np.generic:
        dtype, item = np.dtype(_checked_dtype(value["dtype"])), self.decode(value["$scalar"], depth)
        # np.str_(10**9) and the like would fill the memory.
        fits = isinstance(item, str) if dtype.kind == "U" else isinstance(item, (int, float))
        if dtype.kind not in "biufU" or not fits:
            raise ModelFileError("its header contains a scalar that is not of its dtype")
        scalar: np.generic = dtype.type(item)
        return scalar

    def _tuple(self, value: dict[str, Any], depth: int) -> tuple[Any, ...]:
        return tuple(self.decode(item, depth) for item in value["$tuple"])

    def _set(self, value: dict[str, Any], depth: int) -> set[Any]:
        return set(self._keys([self.decode(item, depth) for item in value["$set"]]))

    def _dict(self, value: dict[str, Any], depth: int) -> dict[Any, Any]:
        keys = self._keys([self.decode(k, depth) for k, _ in value["$dict"]])
        items = [self.decode(v, depth) for _, v in value["$dict"]]
        return dict(zip(keys, items, strict=True))

    def _tensor(self, value: dict[str, Any], depth: int) -> np.ndarray:
        name = value["$tensor"]
        if not isinstance(name, str) or name not in self.tensors:
            raise ModelFileError(f"its header refers to a tensor that is missing, {name!r}")
        self.used.add(name)
        return self.tensors[name]

    def _array(self, value: dict[str, Any], depth: int) -> np.ndarray:
        items, shape = self.decode(value["$array"], depth), value["shape"]
        if value["dtype"] not in ("O", "U", "T") or math.prod(shape) != len(items):
            raise ModelFileError("its header contains an array of a wrong shape")
        array = np.empty(len(items), dtype=object)
        array[:] = items
        array = array.reshape(shape)
        if value["dtype"] != "U":
            return array
        longest = max((len(str(item)) for item in items), default=0)
        self.string_bytes += 4 * longest * len(items)  # NumPy pads all strings to the longest
        if self.string_bytes > MAX_STRING_BYTES:
            raise ModelFileError("its header contains strings that would fill the memory")
        return array.astype(str)

    def _times(self, value: dict[str, Any], depth: int) -> np.ndarray:
        numbers, dtype = self.decode(value["$times"], depth), value["dtype"]
        if not isinstance(dtype, str) or not TIMES.fullmatch(dtype):
            raise ModelFileError(f"its header contains {dtype!r} instead of a dtype of times")
        if not isinstance(numbers, np.ndarray) or numbers.dtype != np.int64:
            raise ModelFileError("its header contains times that are not whole numbers")
        times: np.ndarray = numbers.view(dtype)
        return times

    def _dtype(self, value: dict[str, Any], depth: int) -> np.dtype:
        return np.dtype(_checked_dtype(value["$dtype"]))

    def _type(self, value: dict[str, Any], depth: int) -> type:
        return np.dtype(_checked_dtype(value["$type"])).type

    def _pandas(self, value: dict[str, Any], depth: int) -> Any:
        import pandas as pd

        text = value["$pandas"]
        if not isinstance(text, str) or not DATES.fullmatch(text):
            raise ModelFileError(f"its header contains {text!r} instead of a dtype")
        return pd.api.types.pandas_dtype(text)

    def _random(self, value: dict[str, Any], depth: int) -> np.random.RandomState:
        state = self.decode(value["$random"], depth)
        key, position = state["state"]["key"], state["state"]["pos"]
        if state["bit_generator"] != "MT19937" or key.shape != (624,) or not 0 <= position <= 624:
            raise ModelFileError("its header contains an invalid random state")
        generator = np.random.RandomState()
        generator.set_state(state)
        return generator

    def _activation(self, value: dict[str, Any], depth: int) -> Any:
        name = value["$activation"]
        return self.custom_function(name, "activation") or activations.get(name)

    def _loss(self, value: dict[str, Any], depth: int) -> Any:
        settings = {k: self.decode(v, depth) for k, v in value["settings"].items()}
        custom = self.custom_function(value["$loss"], "loss")
        return custom if custom is not None else losses.get(value["$loss"], **settings)

    def _object(self, value: dict[str, Any], depth: int) -> Any:
        name = value["$object"]
        found = self._find_class(name)
        if found is None:
            raise ModelFileError(f"its header names a class that files may not contain, {name!r}")
        instance: Any = object.__new__(found.cls)
        for key, item in value["state"].items():
            if not isinstance(key, str) or not key.isidentifier() or key.startswith("__"):
                raise ModelFileError(f"its header contains an invalid attribute name, {key!r}")
            if callable(getattr(found.cls, key, None)) or key in _derived(found.cls):
                raise ModelFileError(f"its header would replace a method of {name}, {key!r}")
            instance.__dict__[key] = self.decode(item, depth)
        if found.require_fields is not None:
            found.require_fields(instance)
        if found.is_consistent is not None and not found.is_consistent(instance):
            raise ModelFileError(f"the parts of its {name} do not fit together")
        return instance

    _decoders: ClassVar[dict[str, Callable[[Reader, dict[str, Any], int], Any]]] = {
        "$float": _float, "$scalar": _scalar, "$tuple": _tuple, "$set": _set, "$dict": _dict,
        "$tensor": _tensor, "$array": _array, "$times": _times, "$dtype": _dtype, "$type": _type,
        "$pandas": _pandas, "$random": _random, "$activation": _activation, "$loss": _loss,
        "$object": _object,
    }  # fmt: skip


def _pandas_dtype(value: Any) -> dict[str, str] | None:
    """A dtype of pandas as JSON; None for other values."""
    import pandas as pd

    if isinstance(value, pd.DatetimeTZDtype):
        return {"$pandas": str(value)}
    if isinstance(value, pd.api.extensions.ExtensionDtype) and hasattr(value, "numpy_dtype"):
        return {"$dtype": value.numpy_dtype.str}
    return None


def _derived(cls: type) -> tuple[str, ...]:
    """The attributes of a class that files do not contain, as they follow from the others."""
    return getattr(cls, "DERIVED", ())


def _checked_dtype(dtype: Any) -> str:
    if not isinstance(dtype, str) or len(dtype) > 20 or dtype[1:2] not in "biufmMOUST":
        raise ModelFileError(f"its header contains {dtype!r} instead of a dtype")
    if np.dtype(dtype).itemsize > MAX_ITEM_BYTES:
        raise ModelFileError(f"its header contains {dtype!r}, whose items would fill the memory")
    return dtype


def _plain(item: Any) -> Any:
    """An entry of an array of objects as a plain Python value, if it has one."""
    return item.item() if isinstance(item, np.generic) else item
