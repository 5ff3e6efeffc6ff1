"""Fitted state as JSON plus tensors, and back: an explicit list of what may be in a file.

JSON values stand for themselves. Everything else is an object with one key that starts with "$":
an array, a tuple, a dtype, or an instance of one of the classes below. Reading constructs nothing
but these, sets attributes that are themselves such values, and calls nothing from the file.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

CLASSES = {
    name: module
    for module, names in {
        "skrub": ("StringEncoder", "DatetimeEncoder", "SquashingScaler"),
        "skrub._clean_null_strings": ("CleanNullStrings",),
        "skrub._clean_categories": ("CleanCategories",),
        "skrub._drop_uninformative": ("DropUninformative",),
        "skrub._duration_to_float": ("DurationToFloat",),
        "skrub._squashing_scaler": ("_MinMaxScaler",),
        "skrub._to_datetime": ("ToDatetime",),
        "skrub._to_float": ("ToFloat",),
        "skrub._to_str": ("ToStr",),
        "sklearn.preprocessing": ("OneHotEncoder", "RobustScaler", "StandardScaler"),
        "sklearn.impute": ("SimpleImputer", "MissingIndicator"),
        "sklearn.feature_extraction.text": ("TfidfVectorizer", "TfidfTransformer"),
        "sklearn.decomposition": ("TruncatedSVD",),
        "deltaprop.data": ("TableEncoder",),
        "deltaprop.functions.activations": ("Activation",),
        "deltaprop.functions.losses": ("Loss",),
        "deltaprop.engines.options": ("Xla",),
        "deltaprop.optim.schedules": (
            "Constant", "InverseScaling", "Adaptive", "Cosine", "WarmUp", "OneCycle",
        ),
        "deltaprop.optim.natural_gradient": ("KFAC",),
        "deltaprop.optim.solvers": ("SGD", "Adam", "AdamW", "LBFGS"),
    }.items()
    for name in names
}  # fmt: skip
DEEPEST = 40
DATES = re.compile(r"datetime64\[(s|ms|us|ns), [A-Za-z0-9_+\-:]+(/[A-Za-z0-9_+\-]+)*\]")
LARGEST_WORDS = 1_000_000_000


class ModelFileError(ValueError):
    """A model file that cannot be read or written; the message names the file and the reason."""


class Writer:
    """Encodes values; arrays of numbers collect in ``tensors``."""

    def __init__(self) -> None:
        self.tensors: dict[str, np.ndarray] = {}

    def encode(self, value: Any, path: str) -> Any:
        """`value` as JSON; `path` says in errors which part of the model it is."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, np.generic):
            return value if math.isfinite(value) else {"$float": repr(float(value))}
        if isinstance(value, np.ndarray):
            return self._array(value, path)
        if isinstance(value, np.dtype):
            return {"$dtype": value.str}
        if isinstance(value, np.generic):
            return {"$scalar": self.encode(value.item(), path), "dtype": value.dtype.str}
        if isinstance(value, type) and issubclass(value, np.generic):
            return {"$type": np.dtype(value).str}
        if isinstance(value, list):
            return [self.encode(item, f"{path}[{i}]") for i, item in enumerate(value)]
        if isinstance(value, tuple):
            return {"$tuple": [self.encode(item, f"{path}[{i}]") for i, item in enumerate(value)]}
        if isinstance(value, (set, frozenset)):
            return {"$set": [self.encode(item, path) for item in sorted(value, key=repr)]}
        if isinstance(value, dict):
            pairs = [[self.encode(k, path), self.encode(v, f"{path}[{k!r}]")]
                     for k, v in value.items()]  # fmt: skip
            return {"$dict": pairs}
        if isinstance(value, np.random.RandomState):
            return {"$random": self.encode(value.get_state(legacy=False), path)}
        return self._object(value, path)

    def _array(self, array: np.ndarray, path: str) -> Any:
        if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
            name = f"t{len(self.tensors)}"
            self.tensors[name] = np.ascontiguousarray(array)
            return {"$tensor": name}
        if array.dtype.kind in "OUT":
            items = [self.encode(_plain(item), path) for item in array.ravel().tolist()]
            return {"$array": items, "shape": list(array.shape), "dtype": array.dtype.kind}
        raise ModelFileError(f"{path}: an array of dtype {array.dtype} cannot be saved.")

    def _object(self, value: Any, path: str) -> Any:
        from deltaprop.functions.activations import Activation
        from deltaprop.functions.losses import Loss

        name = type(value).__name__
        if isinstance(value, Activation):
            return {"$activation": value.name}
        if isinstance(value, Loss):
            settings = {k: self.encode(v, path) for k, v in value.settings.items()}
            return {"$loss": value.name, "settings": settings, "ours": value.is_builtin}
        if type(value).__module__.startswith("pandas") and hasattr(value, "numpy_dtype"):
            return {"$dtype": value.numpy_dtype.str}
        if name == "DatetimeTZDtype":
            return {"$pandas": str(value)}
        if name in CLASSES and isinstance(value, _class(name)):
            state = {k: self.encode(v, f"{path}.{k}") for k, v in vars(value).items()}
            return {"$object": name, "state": state}
        raise ModelFileError(
            f"{path}: a value of type {type(value).__module__}.{name} cannot be saved. Model files "
            "hold numbers, words and the known parts of a model, never code."
        )


class Reader:
    """Decodes what :class:`Writer` encoded; anything else is an error."""

    def __init__(self, tensors: dict[str, np.ndarray], custom: dict[str, Any]) -> None:
        self.tensors, self.custom, self.used = tensors, custom, set[str]()

    def decode(self, value: Any, depth: int = 0) -> Any:
        if depth > DEEPEST:
            raise ModelFileError("its header is nested too deeply")
        if isinstance(value, list):
            return [self.decode(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        tags = [key for key in value if key.startswith("$")]
        if len(tags) != 1:
            raise ModelFileError("its header holds an object that is not one of the known kinds")
        body = value[tags[0]]
        readers = {
            "$float": self._float, "$tensor": self._tensor, "$dtype": self._dtype,
            "$type": self._type, "$pandas": self._pandas, "$activation": self._activation,
        }  # fmt: skip
        if tags[0] in readers:
            return readers[tags[0]](body)
        down = depth + 1
        if tags[0] == "$scalar":
            return np.dtype(_simple(value["dtype"])).type(self.decode(body, down))
        if tags[0] == "$tuple":
            return tuple(self.decode(item, down) for item in body)
        if tags[0] == "$set":
            return {self.decode(item, down) for item in body}
        if tags[0] == "$dict":
            return {self.decode(k, down): self.decode(v, down) for k, v in body}
        if tags[0] == "$random":
            return _random(self.decode(body, down))
        if tags[0] == "$array":
            return self._object_array(value, down)
        if tags[0] == "$loss":
            return self._loss(value, down)
        if tags[0] == "$object":
            return self._object(value, down)
        raise ModelFileError(f"its header holds an unknown kind of value, {tags[0]!r}")

    def _float(self, body: Any) -> float:
        if body not in ("nan", "inf", "-inf"):
            raise ModelFileError(f"its header holds {body!r} in place of a number")
        return float(body)

    def _tensor(self, body: Any) -> np.ndarray:
        if not isinstance(body, str) or body not in self.tensors:
            raise ModelFileError(f"its header names a tensor that it does not hold, {body!r}")
        self.used.add(body)
        return self.tensors[body]

    def _dtype(self, body: Any) -> np.dtype:
        return np.dtype(_simple(body))

    def _type(self, body: Any) -> type:
        return np.dtype(_simple(body)).type

    def _pandas(self, body: Any) -> Any:
        import pandas as pd

        if not isinstance(body, str) or not DATES.fullmatch(body):
            raise ModelFileError(f"its header holds {body!r} in place of a dtype")
        return pd.api.types.pandas_dtype(body)

    def _activation(self, body: Any) -> Any:
        from deltaprop.functions import activations

        return self.own(body, "activation") or activations.get(body)

    def own(self, name: Any, kind: str) -> Any:
        """The user's object of that name; None where it is one of ours."""
        from deltaprop.functions import activations, losses

        if name in self.custom:
            return self.custom[name]
        known = activations.NAMES if kind == "activation" else losses.NAMES
        if name not in known:
            raise ModelFileError(
                f"it uses {name!r}, {kind} of the user's own, which a file can only name. Load it "
                f"with dp.load(path, custom={{{name!r}: ...}})"
            )
        return None

    def _object_array(self, value: dict[str, Any], depth: int) -> np.ndarray:
        items, shape = self.decode(value["$array"], depth), value["shape"]
        if math.prod(shape) != len(items):
            raise ModelFileError("its header holds an array of another size than it says")
        array = np.empty(len(items), dtype=object)
        array[:] = items
        array = array.reshape(shape)
        if value["dtype"] != "U":
            return array
        longest = max((len(str(item)) for item in items), default=0)
        if 4 * longest * len(items) > LARGEST_WORDS:  # every word takes the longest one's room
            raise ModelFileError("its header holds words that would fill the memory")
        return array.astype(str)

    def _loss(self, value: dict[str, Any], depth: int) -> Any:
        from deltaprop.functions import losses

        settings = {k: self.decode(v, depth) for k, v in value["settings"].items()}
        own = self.own(value["$loss"], "loss")
        return own if own is not None else losses.get(value["$loss"], **settings)

    def _object(self, value: dict[str, Any], depth: int) -> Any:
        name, state = value["$object"], value["state"]
        if name not in CLASSES or name in ("Activation", "Loss"):
            raise ModelFileError(f"its header names a class that files may not hold, {name!r}")
        cls = _class(name)
        made: Any = object.__new__(cls)
        for key, item in state.items():
            if not isinstance(key, str) or not key.isidentifier() or key.startswith("__"):
                raise ModelFileError(f"its header names an attribute that is not one, {key!r}")
            if callable(getattr(cls, key, None)):
                raise ModelFileError(f"its header would replace a method of {name}, {key!r}")
            made.__dict__[key] = self.decode(item, depth)
        if name in SOUND and not SOUND[name](made):
            raise ModelFileError(f"the parts of its {name} do not fit together")
        return made


def _sound_categories(encoder: Any) -> bool:
    """Whether fitting to these categories gives this encoder."""
    again = type(encoder)(**encoder.get_params())
    names = list(encoder.feature_names_in_)
    words = np.concatenate(encoder.categories_)
    if len(names) != 1 or len(encoder.categories_) != 1 or encoder._infrequent_enabled:
        return False
    import pandas as pd

    again.set_output(transform="default").fit(pd.DataFrame({names[0]: words}))
    return all(
        np.array_equal(getattr(again, name), getattr(encoder, name))
        for name in ("_n_features_outs", "drop_idx_", "_drop_idx_after_grouping")
    )


def _sound_vocabulary(vectorizer: Any) -> bool:
    """Whether words count from 0 without a gap, and documents are words, never files."""
    numbers = sorted(vectorizer.vocabulary_.values())
    return vectorizer.input == "content" and numbers == list(range(len(numbers)))


# Where compiled code of scikit-learn's and SciPy's trusts fitted sizes and indices.
SOUND: dict[str, Callable[[Any], bool]] = {
    "OneHotEncoder": _sound_categories,
    "TfidfVectorizer": _sound_vocabulary,
}


def _random(state: Any) -> np.random.RandomState:
    inner = state["state"]
    key, position = inner["key"], inner["pos"]
    if state["bit_generator"] != "MT19937" or key.shape != (624,) or not 0 <= position <= 624:
        raise ModelFileError("its random numbers are none")
    generator = np.random.RandomState()
    generator.set_state(state)
    return generator


def _class(name: str) -> type:
    cls: type = getattr(importlib.import_module(CLASSES[name]), name)
    return cls


def _simple(dtype: Any) -> str:
    if not isinstance(dtype, str) or len(dtype) > 20 or dtype[1:2] not in "biufmMOUST":
        raise ModelFileError(f"its header holds {dtype!r} in place of a dtype")
    return dtype


def _plain(item: Any) -> Any:
    """An entry of an array of objects, as a plain Python value where it has one."""
    return item.item() if isinstance(item, np.generic) else item
