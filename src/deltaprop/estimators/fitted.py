"""The interface of fitted estimators that the rest of the library uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Num

    from deltaprop.functions.arrays import Array
    from deltaprop.network import Network
    from deltaprop.training.history import History

# One class per row, several labels per row, or numbers.
TargetKind = Literal["classes", "labels", "numbers"]


@runtime_checkable
class Fitted(Protocol):
    """The protocol of the estimators that :func:`deltaprop.inspect.opening.open_model` opens.

    Every method raises :class:`sklearn.exceptions.NotFittedError` or AttributeError before ``fit``.

    Examples
    --------
    >>> import deltaprop as dp
    >>> model = dp.MLPClassifier(2, random_state=0, max_iter=5).fit([[0.0], [1.0]], ["no", "yes"])
    >>> model.encode_target(["yes", "no"])
    array([1, 0], dtype=int8)
    """

    def fitted_mlp(self) -> Any:
        """The MLPClassifier or MLPRegressor with the network; often the estimator itself."""

    def fitted_network(self) -> Network:
        """The fitted network, including changes that the user made to ``coefs_``."""

    def encode_rows(self, X: Any) -> Num[Array, "N D"]:
        """The input of the network for rows that ``predict`` accepts."""

    def feature_names(self) -> list[str] | None:
        """The names of the columns that `encode_rows` returns; None if they have none."""

    def column_kinds(self) -> dict[str, str]:
        """How each column of a table is encoded; empty if columns are used as they are."""

    def target_name(self) -> str | None:
        """The name of the target column in the training data, if it had one."""

    def target_kind(self) -> TargetKind:
        """What the estimator predicts."""

    def encode_target(self, y: Any) -> Num[np.ndarray, "N ..."]:
        """The target in the form that the network's loss needs, from one that ``fit`` accepts.

        Raises ValueError if `y` has classes that were not in the training data.
        """

    def output_in_words(self, z: Float[np.ndarray, "1 H"]) -> str | None:
        """The prediction for one row of the network's output, as text; None for labels."""

    def fit_history(self) -> History:
        """The curves of the last fit, as :func:`deltaprop.fit` returns them."""


def as_labels(y: Any, classes: np.ndarray) -> np.ndarray:
    """y with the dtype of the model's classes: strings if it was fitted to strings.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.estimators.fitted import as_labels
    >>> as_labels([1.0, 2.0], np.array([1, 2, 3]))
    array([1, 2])
    """
    values = np.asarray(y)
    if classes.dtype.kind in "US":
        return np.array([str(value) for value in values])
    labels: np.ndarray = values.astype(classes.dtype)
    return labels
