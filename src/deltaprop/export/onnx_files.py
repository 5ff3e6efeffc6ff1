"""``dp.to_onnx``: write a model as an ONNX file, with its preprocessing inside."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltaprop.errors import InputError
from deltaprop.export.agreement import Agreement, compare
from deltaprop.export.graph import DTYPES, DType
from deltaprop.export.models import graph_of, metadata_of
from deltaprop.export.optional import onnx_module
from deltaprop.files.searches import best_of_search
from deltaprop.storage.places import Place, write_bytes


@dataclass(frozen=True)
class OnnxFile:
    """What :func:`to_onnx` has written.

    Attributes
    ----------
    size : int
        The size of the file, in bytes.
    agreement : Agreement or None
        How closely it agrees with the model; None without rows to compare on.
    """

    size: int
    agreement: Agreement | None

    def __str__(self) -> str:
        text = f"{self.size:,} bytes."
        return text if self.agreement is None else f"{text} {self.agreement}"


def to_onnx(
    model: Any,
    path: Place,
    *,
    dtype: DType = "float32",
    quantize: bool = False,
    X: Any = None,
    y: Any = None,
) -> OnnxFile:
    """Write a model as an ONNX file, with its preprocessing inside.

    A Network or MLP estimator has one input, "X", of shape (N, n_features). A model for tables has
    one input of shape (N, 1) for each column, of the column's name: a string for categories, where
    "" is a missing value, and a double for everything else, where NaN is one. Booleans are 0 and 1,
    durations seconds, and dates the seconds since 1970-01-01 00:00 UTC.

    The first output of a classifier is "label", the second one "probabilities" ("margins" with
    loss="hinge"). Regressors and networks have the output "prediction" of shape (N, n_outputs), and
    with loss="gaussian_nll" also "std". If a column has the name of an output, the output's name
    ends in "_".

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor or search
        Estimators must be fitted. Of a search, such as ``GridSearchCV``, the best one is written.
    path : str or Path
        Usually ends in ``.onnx``; may be a URL. An existing file is replaced in one step.
    dtype : {"float32", "float64", "float16"}, default="float32"
        The dtype in which networks are computed and weights are stored. The encoding of tables is
        computed as in deltaprop, whatever this is.
    quantize : bool, default=False
        Whether weights are stored in 8 bits, and products computed in integers, with a scale for
        each batch of rows (dynamic quantization). It needs onnxruntime, and `dtype` "float32".
    X : array-like or table, optional
        Rows as the model's ``predict`` takes them, to compare the file with the model.
    y : array-like, optional
        Their target, for the scores of both.

    Returns
    -------
    OnnxFile
        The size of the file, and the differences from the model for the rows X.

    Raises
    ------
    ValueError
        If ONNX operators cannot express a part of the model: a column of text, columns in files of
        old versions, custom activations. The message names it.
    OutputError
        If the file cannot be written.
    ImportError
        If onnx is not installed, or onnxruntime, which `quantize` and `X` need.

    Notes
    -----
    The file has opset 15 and IR version 8, which onnxruntime reads since version 1.10. Its metadata
    has the version of deltaprop, the kind of model, the columns, the target and the classes.

    Examples
    --------
    >>> import pytest; onnxruntime = pytest.importorskip("onnxruntime")
    >>> import deltaprop as dp, os, tempfile
    >>> table = dp.tables.read_table("data/penguins.csv")
    >>> X, y = table.drop(columns="species"), table["species"]
    >>> model = dp.TabularClassifier(preset="fast", random_state=0).fit(X, y)
    >>> path = os.path.join(tempfile.mkdtemp(), "penguins.onnx")
    >>> dp.to_onnx(model, path, X=X, y=y).agreement.largest_difference < 1e-5
    True
    >>> session = onnxruntime.InferenceSession(path)
    >>> [i.name for i in session.get_inputs()][:2], [o.name for o in session.get_outputs()]
    (['island', 'bill_length_mm'], ['label', 'probabilities'])
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}.")
    if quantize and dtype != "float32":
        raise InputError(f"quantize=True needs dtype='float32', got {dtype!r}.")
    model = best_of_search(model)
    exported = graph_of(model, dtype).model(metadata_of(model))
    if quantize:
        exported = _quantized(exported)
    onnx_module("onnx.checker").check_model(exported, full_check=True)
    data: bytes = exported.SerializeToString()
    agreement = None if X is None else compare(model, data, X, y)
    write_bytes(path, data)
    return OnnxFile(len(data), agreement)


def _quantized(model: Any) -> Any:
    """The model with the weights of its layers in 8 bits, with a scale for each unit."""
    quantization = onnx_module("onnxruntime.quantization")
    # Says that shapes are known, as after onnxruntime's preprocessing; otherwise it warns.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        quantization.quantize_dynamic(
            model, path, op_types_to_quantize=["MatMul"], per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip
        return onnx_module("onnx").load(str(path))
