"""``deltaprop.save`` and ``deltaprop.load``: the file format, version 1 (docs/files.md)."""

from __future__ import annotations

import json
import os
import struct
import warnings
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop._version import __version__
from deltaprop.network import Network
from deltaprop.storage.codec import ModelFileError, Reader, Writer
from deltaprop.storage.places import Place, read_bytes, write_bytes

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.optim.state import TrainingState as Progress

FORMAT = 1
LONGEST_HEADER = 100_000_000
KINDS = ("Network", "MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor")
NETWORK = ("network_", "coefs_", "intercepts_", "n_layers_", "n_outputs_", "out_activation_")
OBSOLETE = ("_given",)  # attributes in files of earlier versions, which are ignored
NOT_SAVED = ("callbacks", "record", "records_", "checkpoint", "_signal")


def save(model: Any, path: Place) -> None:
    """Write a network or a fitted estimator to one file.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, TabularClassifier or TabularRegressor
    path : str or Path
        Customarily ends in ``.dp``. An existing file is replaced, in one step: whatever happens,
        there is the old file or the new one, never a half. May be an address that fsspec knows,
        such as ``"s3://bucket/model.dp"``.

    Raises
    ------
    ModelFileError
        If the model is of another kind, holds what a file cannot hold, or the disk refuses.

    Notes
    -----
    The user's own activations and losses are saved by name; ``load`` has to be given them.
    Callbacks and a scorer that is a function are not saved.

    Examples
    --------
    >>> import deltaprop as dp, tempfile, os
    >>> net = dp.Network(2, [dp.Dense(1)], loss="huber", seed=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "net.dp")
    >>> dp.save(net, path)
    >>> dp.load(path)
    Network(2 → 1 identity, loss='huber', l2=0, reduction='sum', 3 parameters)
    """
    kind = type(model).__name__
    if kind not in KINDS:
        raise ModelFileError(f"A model must be one of {', '.join(KINDS)} to be saved, got {kind}.")
    writer = Writer()
    body = _encode_model(model, writer)
    header = {"format": FORMAT, "deltaprop": __version__, "kind": kind, "model": body}
    if kind.startswith("Tabular"):
        header["versions"] = _versions()
    from safetensors.numpy import save as to_bytes

    data = to_bytes(writer.tensors, metadata={"deltaprop": json.dumps(header, allow_nan=False)})
    write_bytes(path, data)


def load(path: Place, custom: Mapping[str, Any] | None = None) -> Any:
    """Read what :func:`save` wrote.

    Parameters
    ----------
    path : str or Path
        Or an address, as for :func:`save`.
    custom : mapping of name to Activation or Loss, optional
        The user's own functions that the file names.

    Returns
    -------
    Network or estimator
        It predicts what the saved one predicted, bit by bit, and can go on training.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, truncated, not a model, or of a newer format.
    """
    header, tensors = _read(path)
    try:
        reader = Reader(tensors, dict(custom or {}))
        model = _decode_model(header["kind"], header["model"], reader)
        if len(reader.used) != len(tensors):
            raise ModelFileError("it holds tensors that its header does not name")
        _require_predictions(model)
    except ModelFileError as error:
        raise ModelFileError(f"{str(path)!r} cannot be loaded: {error}.") from error
    except Exception as error:
        raise ModelFileError(
            f"{str(path)!r} is damaged: its header does not describe a model "
            f"({type(error).__name__}: {error}).{_other_versions(header)}"
        ) from error
    return model


def describe(path: Place) -> dict[str, Any]:
    """The header of a model file: format, version, kind and the model's description."""
    return _read(path)[0]


# ---------------------------------------------------------------- models


def _encode_model(model: Any, writer: Writer) -> dict[str, Any]:
    if isinstance(model, Network):
        if not np.isfinite(model.theta).all():
            raise ModelFileError(
                "The network's parameters contain NaN or infinity: the training diverged. Train it "
                "again with a smaller learning rate, then save it."
            )
        return {"config": model.config(), "theta": writer.encode(model.theta, "theta")}
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    parameters, fitted = model.get_params(deep=False), {}
    for name, value in vars(model).items():
        if name in parameters or name in NETWORK or name in ("mlp_", "_skl_callbacks", *NOT_SAVED):
            continue
        if name in ("_progress", "_plateau"):
            fitted[name] = {"$dict": [
                [key, writer.encode(_storable(item), f"{name}.{key}")]
                for key, item in vars(value).items()
            ]}  # fmt: skip
            continue
        fitted[name] = writer.encode(value, name)
    body: dict[str, Any] = {
        "parameters": {
            name: writer.encode(_storable(None if name in NOT_SAVED else value), name)
            for name, value in parameters.items()
        },
        "fitted": fitted,
    }
    if hasattr(model, "mlp_"):
        body["mlp"] = _encode_model(model.mlp_, writer)
    else:
        body["network"] = _encode_model(model._network(), writer)
    return body


def _storable(value: Any) -> Any:
    """A function is not stored: None, the default, stands in."""
    return None if callable(value) and hasattr(value, "__code__") else value


def _decode_model(kind: str, body: dict[str, Any], reader: Reader) -> Any:
    if kind == "Network":
        return _decode_network(body, reader)
    from deltaprop import estimators

    model = getattr(estimators, kind)(
        **{name: reader.decode(value) for name, value in body["parameters"].items()}
    )
    allowed = _fitted_names(kind)
    for name, value in body["fitted"].items():
        if name in OBSOLETE:
            continue
        if name not in allowed:
            raise ModelFileError(f"its header holds an attribute that is not known, {name!r}")
        model.__dict__[name] = reader.decode(value)
    if kind.startswith("Tabular"):
        inner = kind.replace("Tabular", "MLP")
        model.mlp_ = _decode_model(inner, body["mlp"], reader)
        _require_table(model)
    else:
        model._attach(_decode_network(body["network"], reader))
        _require_one_task(model)
        _rebuild_search(model)
    return model


def _require_one_task(model: Any) -> None:
    """The estimator's attributes must fit its network."""
    net = model.network_
    if model.n_features_in_ != net.n_features:
        raise ModelFileError("its features are not those of its network")
    if hasattr(model, "classes_"):
        n_classes = len(model.classes_)
        if net.n_outputs != n_classes and not (net.n_outputs == 1 and n_classes <= 2):
            raise ModelFileError("its classes are not those of its network")
        if model._kind not in ("binary", "multiclass", "multilabel"):
            raise ModelFileError(f"its task, {model._kind!r}, is not known")


def _require_table(model: Any) -> None:
    """What a tabular estimator repeats of its parts must be what the parts say."""
    from deltaprop.data.encoder import TableEncoder

    if not isinstance(getattr(model, "encoder_", None), TableEncoder):
        raise ModelFileError("it holds no preprocessing")
    for name, part in (
        ("classes_", model.mlp_), ("n_features_in_", model.encoder_),
        ("feature_names_in_", model.encoder_),
    ):  # fmt: skip
        if hasattr(part, name) and not np.array_equal(getattr(model, name), getattr(part, name)):
            raise ModelFileError(f"its {name} are not those of its parts")
    if not np.isfinite([getattr(model, "y_mean_", 0.0), getattr(model, "y_scale_", 1.0)]).all():
        raise ModelFileError("the scale of its target is not a number")


def _require_predictions(model: Any) -> None:
    """A model whose parts do not fit together fails here, not later on the user's rows."""
    if isinstance(model, Network):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if hasattr(model, "encoder_"):
            import pandas as pd

            # A row with nothing in it and a row of words go through every step.
            model.predict(pd.DataFrame({name: [None, "1"] for name in model.encoder_.chains_}))
        else:
            model.predict(np.zeros((1, model.n_features_in_)))


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("scikit-learn", "skrub")}


def _other_versions(header: dict[str, Any]) -> str:
    """The likely reason, where the preprocessing comes from other versions than these."""
    wrote = header.get("versions")
    if not isinstance(wrote, dict) or wrote == (here := _versions()):
        return ""
    return (
        f" It was written with {', '.join(f'{k} {v}' for k, v in wrote.items())}; here are "
        f"{', '.join(f'{k} {v}' for k, v in here.items())}."
    )


def _fitted_names(kind: str) -> tuple[str, ...]:
    shared = ("n_features_in_", "feature_names_in_", "classes_")
    if kind.startswith("Tabular"):
        return (*shared, "encoder_", "y_mean_", "y_scale_", "target_name_")
    curves = ("loss_", "best_loss_", "loss_curve_", "validation_scores_", "validation_loss_curve_",
              "best_validation_score_", "n_iter_", "t_", "stop_reason_")  # fmt: skip
    return (*shared, *curves, "_kind", "_n_targets", "_progress", "_plateau")


def _rebuild_search(model: Any) -> None:
    """Where the search stopped."""
    from deltaprop.optim.state import TrainingState as Progress
    from deltaprop.training.stopping import Plateau

    for name, cls in (("_progress", Progress), ("_plateau", Plateau)):
        if name in model.__dict__:
            model.__dict__[name] = cls(**model.__dict__[name])
    if hasattr(model, "_progress"):
        require_sound(model._progress, model.network_.theta)


def require_sound(progress: Progress, theta: Float[np.ndarray, " P"]) -> None:
    """A search of that θ can go on there: compiled code trusts these sizes and indices."""
    memory, order = progress.solver_state, progress.order
    if not isinstance(memory, tuple) or not all(
        isinstance(part, np.ndarray)
        and part.dtype == theta.dtype
        and (part.shape == theta.shape or (part.ndim == 2 and part.shape[0] == part.shape[1]))
        for part in memory  # of K-FAC's squares an engine checks the sizes
    ):
        raise ModelFileError("the solver's memory is not of its network's size")
    if order is not None and not (
        isinstance(order, np.ndarray)
        and order.dtype == np.int64
        and np.array_equal(np.sort(order, axis=None), np.arange(len(order)))
    ):
        raise ModelFileError("the order of its rows is none")
    for name in ("step", "epoch", "samples"):
        if not _is_count(getattr(progress, name)):
            raise ModelFileError(f"its number of {name}s is none")
    if progress.order_seed is not None and not _is_count(progress.order_seed):
        raise ModelFileError("the seed of its order is none")
    if progress.dropout_seed is not None and not _is_count(progress.dropout_seed):
        raise ModelFileError("its seed of dropout is none")
    if type(progress.noise_seed) not in (int, type(None)) or (progress.noise_seed or 0) < 0:
        raise ModelFileError("its seed of noise is none")
    if type(progress.mu_squared) is not float or not progress.mu_squared >= 0:
        raise ModelFileError("its account of privacy is none")
    if not isinstance(progress.rng, (np.random.RandomState, type(None))):
        raise ModelFileError("its random numbers are none")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _decode_network(body: dict[str, Any], reader: Reader) -> Network:
    config = body["config"]
    for layer in config["layers"]:
        reader.own(layer["activation"], "activation")
    reader.own(config["loss"]["name"], "loss")
    sizes = [config["n_features"], *(layer["units"] for layer in config["layers"])]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ModelFileError("its layers have sizes that are no positive integers")
    expected = sum(D * H + H for D, H in pairwise(sizes))
    theta = reader.decode(body["theta"])
    if not isinstance(theta, np.ndarray) or theta.shape != (expected,):
        raise ModelFileError(f"its layers need {expected} parameters, which it does not hold")
    if theta.dtype.name != config["dtype"]:
        raise ModelFileError(f"its parameters are {theta.dtype.name}, not {config['dtype']!r}")
    if not np.isfinite(theta).all():
        raise ModelFileError("its parameters contain NaN or infinity")
    net = Network.from_config(config, reader.custom)
    net.theta[...] = theta
    return net


# ---------------------------------------------------------------- bytes


def _read(path: Place) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    data = read_bytes(path)
    try:
        header = json.loads(header_of(data)["deltaprop"])
        if not isinstance(header, dict):
            raise ModelFileError("its header is not one of ours")
        tensors = from_bytes(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = str(error) if isinstance(error, ModelFileError) else "it is damaged or truncated"
        raise ModelFileError(f"{str(path)!r} is not a model file, or {reason}.") from error
    version = header.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ModelFileError(f"{str(path)!r} is damaged: it has no format version.")
    if version > FORMAT:
        raise ModelFileError(
            f"{str(path)!r} was written by a newer deltaprop ({header.get('deltaprop')}, format "
            f"{version}; this one reads up to {FORMAT}). Upgrade deltaprop to read it."
        )
    if header.get("kind") == "Checkpoint":
        folder = os.path.dirname(path)  # noqa: PTH120, of an address, too
        raise ModelFileError(
            f"{str(path)!r} is a checkpoint of a search, not a model. Run the search again with "
            f"checkpoint={folder!r}: it goes on, or returns at once if it had ended."
        )
    if header.get("kind") not in KINDS or not isinstance(header.get("model"), dict):
        raise ModelFileError(f"{str(path)!r} is damaged: it does not say what model it holds.")
    return header, tensors


def header_of(data: bytes) -> dict[str, Any]:
    """The metadata in a safetensors file's own header, among them our header as JSON."""
    if len(data) < 8:
        raise ModelFileError("it is too short")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(len(data) - 8, LONGEST_HEADER):
        raise ModelFileError("it is truncated")
    metadata: dict[str, Any] = json.loads(data[8 : 8 + length])["__metadata__"]
    return metadata
