"""``deltaprop.save`` and ``deltaprop.load``: the file format, version 1 (docs/files.md)."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltaprop._version import __version__
from deltaprop.errors import naming_missing_packages
from deltaprop.files.classes import storable
from deltaprop.files.fields import FITTED, require_network, require_parameters
from deltaprop.files.light import light_model, light_storable
from deltaprop.files.searches import best_of_search
from deltaprop.network import Dense, Layout, Network
from deltaprop.plan.planning import NotPlain
from deltaprop.storage.codec import ModelFileError, Reader, Writer
from deltaprop.storage.format import pack, unpack
from deltaprop.storage.places import Place, read_bytes, write_bytes
from deltaprop.storage.schema import require

if TYPE_CHECKING:
    from deltaprop.functions.activations import Activation
    from deltaprop.functions.losses import Loss

FORMAT = 4  # the newest; each kind of model is written in the oldest format that has it
NETWORK, PIPELINE = "Network", "Pipeline"
SEVERAL = ("MultiOutputClassifier", "MultiOutputRegressor")  # of scikit-learn: one for each target


class Part(NamedTuple):
    """The network or the estimators inside an estimator: the key in the header, and the kind."""

    key: str
    kind: str


ESTIMATORS = {
    "MLPClassifier": Part("network", NETWORK),
    "MLPRegressor": Part("network", NETWORK),
    "TabularClassifier": Part("members", "MLPClassifier"),
    "TabularRegressor": Part("members", "MLPRegressor"),
}
SINGLE = "mlp"  # in format 1, the key of the only member
KINDS = (NETWORK, *ESTIMATORS, PIPELINE, *SEVERAL)
FORMATS = {"TabularClassifier": 2, "TabularRegressor": 2, PIPELINE: 3, **dict.fromkeys(SEVERAL, 4)}
"""Of kinds with preprocessing; the others have format 1."""


def save(model: Any, path: Place) -> None:
    """Write a network or a fitted estimator to one file.

    Parameters
    ----------
    model : Network, estimator, Pipeline or search
        An MLPClassifier, MLPRegressor, TabularClassifier or TabularRegressor; a Pipeline of
        scikit-learn that ends in one; a MultiOutputClassifier or MultiOutputRegressor of these; or
        a search, such as ``GridSearchCV``, whose best estimator is written. Estimators must be
        fitted.
    path : str or Path
        Usually ends in ``.dp``. May be a URL that fsspec supports, such as
        ``"s3://bucket/model.dp"``. An existing file is replaced in one step: if saving fails, it
        stays as it was.

    Raises
    ------
    ModelFileError
        If the model is of another kind, has a part that cannot be saved, or the file cannot be
        written.

    Notes
    -----
    Custom activations and losses are stored by name only; pass them to :func:`load`. Callbacks, a
    `scoring` that is not a string, and splitters or row numbers as `cv` or `validation_split` are
    not stored: the loaded estimator has the default, such as ``cv="auto"``. The steps of a
    Pipeline before the last one may be scalers of scikit-learn, QuantileTransformer,
    PowerTransformer, Normalizer, SimpleImputer, VarianceThreshold, PCA or TruncatedSVD.

    Examples
    --------
    >>> import deltaprop as dp, tempfile, os
    >>> net = dp.Network(2, [dp.Dense(1)], loss="huber", seed=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "net.dp")
    >>> dp.save(net, path)
    >>> dp.load(path)
    Network(2 → 1 identity, loss='huber', l2=0, reduction='sum', 3 parameters)
    """
    model = best_of_search(model)
    kind = _kind_of(model)
    writer = Writer(storable)
    body = _encode(model, writer)
    header = {"format": 1, "deltaprop": __version__, "kind": kind, "model": body}
    if kind in FORMATS:
        header |= {"format": _format_of(model), "versions": _versions()}
    write_bytes(path, pack(writer.tensors, {"deltaprop": json.dumps(header, allow_nan=False)}))


def load(
    path: Place, custom: Mapping[str, Activation | Loss] | None = None, *, light: bool = False
) -> Any:
    """Read a model that :func:`save` wrote.

    Parameters
    ----------
    path : str or Path
        A path or URL, as for :func:`save`.
    custom : mapping of name to Activation or Loss, optional
        The custom activations and losses that the model uses.
    light : bool, default=False
        Whether to load an estimator for predictions only, as a
        :class:`deltaprop.plan.light.LightModel`. It needs no package but NumPy, and is loaded in a
        fraction of the time. Networks need no other package in any case.

    Returns
    -------
    Network or estimator
        Its predictions are bitwise identical, and its training can be continued. With `light`,
        predictions are the same up to rounding.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, truncated, not a model, or has a newer format; with
        `light`, also if predictions need more than NumPy, such as those from a column of text.
    ImportError
        If a package that the model needs is not installed.
    """
    header, tensors = _read(path)
    try:
        if light and header["kind"] != NETWORK:
            reader = Reader(tensors, custom, light_storable)
            members = (ESTIMATORS["TabularClassifier"].key, SINGLE)
            return light_model(header["model"], reader, _decode_network, members)
        reader = Reader(tensors, custom, storable)
        with naming_missing_packages(f"A {header['kind']}"):
            model = _decode(header["kind"], header["model"], reader)
        if len(reader.used) != len(tensors):
            raise ModelFileError("it contains tensors that its header does not name")
    except NotPlain as error:
        raise ModelFileError(f"{str(path)!r} cannot be loaded with light=True: {error}") from error
    except ModelFileError as error:
        raise ModelFileError(
            f"{str(path)!r} cannot be loaded: {error}.{_other_versions(header)}"
        ) from error
    except (ImportError, MemoryError):  # the file is not damaged
        raise
    except Exception as error:
        raise ModelFileError(
            f"{str(path)!r} is damaged: its header does not describe a model "
            f"({type(error).__name__}: {error}).{_other_versions(header)}"
        ) from error
    return model


def describe(path: Place) -> dict[str, Any]:
    """Read the header of a model file.

    Parameters
    ----------
    path : str or Path
        A path or URL, as for :func:`save`.

    Returns
    -------
    dict
        Its format, the version of deltaprop, the kind of model and the description of the model.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, truncated, not a model, or has a newer format.
    """
    return _read(path)[0]


def _kind_of(model: Any) -> str:
    """The name of the model's class; ModelFileError if it cannot be saved."""
    kind = type(model).__name__
    if kind not in KINDS:
        raise ModelFileError(f"A model must be one of {', '.join(KINDS)} to be saved, got {kind}.")
    return kind


def _format_of(model: Any) -> int:
    """The oldest format that has this model and, of a pipeline, its last step."""
    own = FORMATS.get(type(model).__name__, 1)
    steps = getattr(model, "steps", None)
    return own if steps is None else max(own, _format_of(best_of_search(steps[-1][1])))


# ---------------------------------------------------------------- pipelines


def _encode_pipeline(model: Any, writer: Writer) -> dict[str, Any]:
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    *steps, (name, last) = model.steps
    last = best_of_search(last)
    kind = _kind_of(last)
    before = [[own, writer.encode(step, f"step {own!r}")] for own, step in steps]
    return {"steps": before, "last": name, "kind": kind, "estimator": _encode(last, writer)}


def _decode_pipeline(body: dict[str, Any], reader: Reader) -> Any:
    from sklearn.pipeline import Pipeline

    if body["kind"] == NETWORK or body["kind"] not in KINDS:
        raise ModelFileError(f"its last step cannot be a {body['kind']!r}")
    steps = [(name, reader.decode(step)) for name, step in body["steps"]]
    if not all(isinstance(name, str) for name in (body["last"], *(name for name, _ in steps))):
        raise ModelFileError("the names of its steps are not text")
    last = _decode(body["kind"], body["estimator"], reader)
    model = Pipeline([*steps, (body["last"], last)])
    first = next((step for _, step in steps if not isinstance(step, str)), None)
    if first is not None:
        _require_prediction(model, first)
    return model


def _require_prediction(model: Any, first: Any) -> None:
    """Predict once, so that a pipeline with inconsistent parts fails when it is loaded.

    `first` is the first step that looks at the rows.
    """
    from deltaprop.estimators._saving import require_prediction

    X: Any = np.ones((1, first.n_features_in_))
    names = getattr(first, "feature_names_in_", None)
    if names is not None:
        import pandas as pd

        X = pd.DataFrame(X, columns=names)
    require_prediction(model, X)


# ---------------------------------------------------------------- one model for each target


def _encode_several(model: Any, writer: Writer) -> dict[str, Any]:
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    parts = [best_of_search(part) for part in model.estimators_]
    _require_same_task(model, parts)
    kind = _kind_of(parts[0])
    return {"kind": kind, "estimators": [_encode(part, writer) for part in parts]}


def _decode_several(kind: str, body: dict[str, Any], reader: Reader) -> Any:
    from sklearn import multioutput
    from sklearn.base import clone, is_classifier

    inside = body["kind"]
    if inside not in (*ESTIMATORS, PIPELINE):
        raise ModelFileError(f"its estimators cannot be a {inside!r}")
    bodies = body["estimators"]
    if not isinstance(bodies, list) or not bodies:
        raise ModelFileError("it has no estimators")
    parts = [_decode(inside, each, reader) for each in bodies]
    first = parts[0]
    model = getattr(multioutput, kind)(clone(first))
    _require_same_task(model, parts)
    if any(_columns_of(part) != _columns_of(first) for part in parts):
        raise ModelFileError("its estimators have different columns")
    model.estimators_ = parts
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(first, name):
            setattr(model, name, getattr(first, name))
    if is_classifier(model):
        model.classes_ = [part.classes_ for part in parts]
    return model


def _require_same_task(model: Any, parts: list[Any]) -> None:
    from sklearn.base import is_classifier

    if any(is_classifier(part) != is_classifier(model) for part in parts):
        task = "classifiers" if is_classifier(model) else "regressors"
        raise ModelFileError(
            f"the estimators of a {type(model).__name__} must all be {task} to be saved and loaded"
        )


def _columns_of(model: Any) -> tuple[int | None, list[Any]]:
    names = getattr(model, "feature_names_in_", None)
    return getattr(model, "n_features_in_", None), [] if names is None else names.tolist()


# ---------------------------------------------------------------- estimators


def _encode(model: Any, writer: Writer) -> dict[str, Any]:
    """The entry ``model`` of the header."""
    if isinstance(model, Network):
        return _encode_network(model, writer)
    if type(model).__name__ == PIPELINE:
        return _encode_pipeline(model, writer)
    if type(model).__name__ in SEVERAL:
        return _encode_several(model, writer)
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    state = model.__deltaprop_state__()
    fitted = {name: writer.encode(value, name) for name, value in state.fitted.items()}
    parameters = {name: writer.encode(value, name) for name, value in state.parameters.items()}
    key = ESTIMATORS[type(model).__name__].key
    part = state.part
    inside = [_encode(m, writer) for m in part] if isinstance(part, list) else _encode(part, writer)
    return {"parameters": parameters, "fitted": fitted, key: inside}


def _decode(kind: str, body: dict[str, Any], reader: Reader) -> Any:
    if kind == NETWORK:
        return _decode_network(body, reader)
    if kind == PIPELINE:
        return _decode_pipeline(body, reader)
    if kind in SEVERAL:
        return _decode_several(kind, body, reader)
    from deltaprop import estimators

    parameters = {name: reader.decode(value) for name, value in body["parameters"].items()}
    require_parameters(parameters)
    fitted = {name: reader.decode(value) for name, value in body["fitted"].items()}
    require(fitted, FITTED[kind], f"fitted {kind}", complete=False)
    model = getattr(estimators, kind)(**parameters)
    model.__deltaprop_restore__(fitted, _decode_part(ESTIMATORS[kind], body, reader))
    return model


def _decode_part(part: Part, body: dict[str, Any], reader: Reader) -> Any:
    """The network of an MLP estimator, or the list of members of a tabular one."""
    if SINGLE in body and part.kind != NETWORK:
        return [_decode(part.kind, body[SINGLE], reader)]
    inside = body[part.key]
    if part.kind == NETWORK:
        return _decode(part.kind, inside, reader)
    if not isinstance(inside, list) or not inside:
        raise ModelFileError("it has no members")
    return [_decode(part.kind, member, reader) for member in inside]


# ---------------------------------------------------------------- networks


def _encode_network(net: Network, writer: Writer) -> dict[str, Any]:
    if not np.isfinite(net.theta).all():
        raise ModelFileError(
            "The network's parameters contain NaN or infinity: the training diverged. Train it "
            "again with a smaller learning rate, then save it."
        )
    return {"config": net.config(), "theta": writer.encode(net.theta, "theta")}


def _decode_network(body: dict[str, Any], reader: Reader) -> Network:
    config = body["config"]
    require_network(config)
    for layer in config["layers"]:
        reader.custom_function(layer["activation"], "activation")
    reader.custom_function(config["loss"]["name"], "loss")
    sizes = [config["n_features"], *(layer["units"] for layer in config["layers"])]
    theta = reader.decode(body["theta"])
    fewest = sum(D * H + H for D, H in pairwise(sizes))  # layers may be as large as their sizes
    if not isinstance(theta, np.ndarray) or theta.size < fewest:
        raise ModelFileError(f"theta does not have the {fewest} weights and biases of its layers")
    layers = [Dense.from_config(layer, reader.custom) for layer in config["layers"]]
    expected = Layout.of(config["n_features"], layers).size
    if theta.shape != (expected,):
        raise ModelFileError(f"theta does not have the {expected} parameters of its layers")
    if theta.dtype.name != config["dtype"]:
        raise ModelFileError(f"its parameters are {theta.dtype.name}, not {config['dtype']!r}")
    if not np.isfinite(theta).all():
        raise ModelFileError("its parameters contain NaN or infinity")
    net = Network.from_config(config, reader.custom)
    net.theta[...] = theta
    return net


# ---------------------------------------------------------------- headers


def _read(path: Place) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    data = read_bytes(path)
    try:
        metadata, tensors = unpack(data)
        header = json.loads(metadata["deltaprop"])
        if not isinstance(header, dict):
            raise ModelFileError("it was not written by deltaprop")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = str(error) if isinstance(error, ModelFileError) else "it is damaged or truncated"
        raise ModelFileError(f"{str(path)!r} is not a model file, or {reason}.") from error
    _require_known_format(path, header)
    if header.get("kind") == "Checkpoint":
        folder = os.path.dirname(path)  # noqa: PTH120  # may be a URL
        raise ModelFileError(
            f"{str(path)!r} is a checkpoint of a training run, not a model. Repeat the call with "
            f"checkpoint={folder!r}: training continues from it, or returns immediately if it had "
            "finished."
        )
    if header.get("kind") not in KINDS or not isinstance(header.get("model"), dict):
        raise ModelFileError(f"{str(path)!r} is damaged: its header has no known kind of model.")
    return header, tensors


def _require_known_format(path: Place, header: dict[str, Any]) -> None:
    version = header.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ModelFileError(f"{str(path)!r} is damaged: it has no format version.")
    if version > FORMAT:
        raise ModelFileError(
            f"{str(path)!r} was written by a newer deltaprop ({header.get('deltaprop')}, format "
            f"{version}; this version reads formats up to {FORMAT}). Upgrade deltaprop to read it."
        )


def _versions() -> dict[str, str]:
    """The versions of the packages whose transformers a file contains."""
    from importlib.metadata import version

    return {name: version(name) for name in ("scikit-learn", "skrub")}


def _other_versions(header: dict[str, Any]) -> str:
    """A hint for the error message if the preprocessing was saved with other versions."""
    from importlib.metadata import PackageNotFoundError

    saved, here = header.get("versions"), {}
    with contextlib.suppress(PackageNotFoundError):  # a light model needs neither
        here = _versions()
    if not isinstance(saved, dict) or saved == here or not here:
        return ""
    return (
        f" It was written with {', '.join(f'{k} {v}' for k, v in saved.items())}; here are "
        f"{', '.join(f'{k} {v}' for k, v in here.items())}."
    )
