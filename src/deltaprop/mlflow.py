"""An MLflow flavour: models that MLflow logs, registers, loads and serves as a deltaprop file.

``pip install 'deltaprop[track]'`` installs MLflow, which is imported when it is used.

Examples
--------
Log a model, and load it as it was and as a function of MLflow (``mlflow models serve`` does so)::

    import mlflow
    import deltaprop.mlflow

    with mlflow.start_run():
        info = deltaprop.mlflow.log_model(model, name="penguins")
    model = deltaprop.mlflow.load_model(info.model_uri)
    function = mlflow.pyfunc.load_model(info.model_uri)
    function.predict(frame, params={"proba": True})
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltaprop._version import __version__
from deltaprop.errors import InputError
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.files import load, save

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

FLAVOR_NAME = "deltaprop"
FILE = "model.dp"


def save_model(
    model: Any,
    path: str | Path,
    *,
    mlflow_model: Any = None,
    signature: Any = None,
    input_example: Any = None,
    pip_requirements: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Write a fitted model to a folder in MLflow's format.

    Parameters
    ----------
    model : Network, estimator, Pipeline or search
        Anything that :func:`deltaprop.save` can write.
    path : str or Path
        A folder that does not exist or is empty.
    mlflow_model : mlflow.models.Model, optional
        The description to which the flavour is added; `log_model` gives one.
    signature : mlflow.models.ModelSignature, optional
        By default, of a model for tables, its columns, of any type, and the parameter ``proba``.
    input_example : DataFrame or array, optional
        Rows that MLflow stores beside the model.
    pip_requirements : list of str, optional
        By default, this version of deltaprop.
    metadata : dict, optional
        Stored beside the model.

    Raises
    ------
    ModelFileError
        If the model cannot be saved.
    """
    described = _mlflow_model()() if mlflow_model is None else mlflow_model
    from mlflow.pyfunc import add_to_model

    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InputError(f"{str(path)!r} is not an empty folder.")
    save(model, folder / FILE)
    described.signature = signature or described.signature or _signature(model)
    if input_example is not None:
        from mlflow.models.utils import _save_example

        _save_example(described, input_example, str(folder))
    if metadata is not None:
        described.metadata = metadata
    described.add_flavor(FLAVOR_NAME, deltaprop_version=__version__, data=FILE)
    requirements = pip_requirements or [f"deltaprop=={__version__}"]
    (folder / "requirements.txt").write_text("\n".join([*requirements, ""]))
    add_to_model(
        described, loader_module="deltaprop.mlflow", data=FILE,
        python_env=_python_env(folder),
    )  # fmt: skip
    described.save(str(folder / "MLmodel"))


def log_model(model: Any, name: str, **options: Any) -> Any:
    """Log a fitted model to the active run.

    Parameters
    ----------
    model : Network, estimator, Pipeline or search
        Anything that :func:`deltaprop.save` can write.
    name : str
        The name of the logged model.
    **options
        Of `save_model`, and those of MLflow, such as ``registered_model_name``.

    Returns
    -------
    mlflow.models.model.ModelInfo
        ``.model_uri`` is the address for `load_model` and ``mlflow.pyfunc.load_model``.
    """
    import deltaprop.mlflow as flavor

    return _mlflow_model().log(artifact_path=None, name=name, flavor=flavor, model=model, **options)


def load_model(model_uri: str, dst_path: str | None = None) -> Any:
    """Load the model that `save_model` or `log_model` has written.

    Parameters
    ----------
    model_uri : str
        A folder, or an address such as ``runs:/RUN/penguins`` or ``models:/penguins/1``.
    dst_path : str, optional
        A folder to which it is copied.

    Returns
    -------
    Network or estimator
        As :func:`deltaprop.load` returns it.
    """
    _mlflow_model()
    from mlflow.tracking.artifact_utils import _download_artifact_from_uri

    folder = Path(_download_artifact_from_uri(model_uri, output_path=dst_path))
    return load(folder / FILE)


class _Function:
    """The model as MLflow calls it."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """The predictions; of a model for tables, as columns."""
        if not isinstance(self._model, BaseTabular):
            return self._model.predict(model_input)
        from deltaprop.data.frames import as_frame
        from deltaprop.data.predicting import predictions

        proba = bool((params or {}).get("proba", False))
        return predictions(self._model, as_frame(model_input), proba)

    def get_raw_model(self) -> Any:
        """The model itself."""
        return self._model


def _load_pyfunc(path: str) -> _Function:
    """What MLflow calls to load the model; `path` is that of the file."""
    return _Function(load(path))


def _mlflow_model() -> type[Model]:
    """MLflow's description of a model; InputError if MLflow is not installed."""
    try:
        from mlflow.models import Model
    except ModuleNotFoundError as error:
        raise InputError(
            "deltaprop.mlflow needs MLflow: pip install 'deltaprop[track]'."
        ) from error
    found: type[Model] = Model
    return found


def _signature(model: Any) -> ModelSignature | None:
    """The columns of a model for tables, which may have any type."""
    if not isinstance(model, BaseTabular):
        return None
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, ColSpec

    columns = [ColSpec(AnyType(), str(name)) for name in model.feature_names_in_]
    params = ParamSchema([ParamSpec("proba", "boolean", False)])
    return ModelSignature(inputs=Schema(columns), params=params)


def _python_env(folder: Path) -> str:
    """Write the file that says which Python and packages the model needs."""
    import platform

    text = f"python: {platform.python_version()}\ndependencies:\n- -r requirements.txt\n"
    (folder / "python_env.yaml").write_text(text)
    return "python_env.yaml"
