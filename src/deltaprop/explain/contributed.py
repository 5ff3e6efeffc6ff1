"""The contributions of the columns of a table to predictions, as tables and text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError
from deltaprop.functions.checks import is_int

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float

BAR = 24  # signs of the longest bar
SHOWN = 20  # columns of a row in text


@dataclass(frozen=True)
class Contributions:
    """How much each column contributes to each prediction.

    Attributes
    ----------
    values : ndarray (N, C, K)
        The contribution of each column to each output, in the units of the output.
    base : ndarray (K,)
        The (mean) prediction for the baseline, from which contributions lead to the prediction.
    predicted : ndarray (N, K)
        The predictions: probabilities, margins or numbers.
    columns, outputs : list of str
        The names of the columns, and of the classes, targets or quantiles.
    error : float
        The largest |base + Σ contributions − prediction|.
    data : array of object (N, C)
        The values of the columns.
    """

    values: Float[np.ndarray, "N C K"] = field(repr=False)
    base: Float[np.ndarray, " K"]
    predicted: Float[np.ndarray, "N K"] = field(repr=False)
    columns: list[str]
    outputs: list[str]
    error: float
    data: np.ndarray = field(repr=False)

    def frame(self, output: str | None = None) -> pd.DataFrame:
        """The contributions to one output, with a row for each row and a column for each column.

        Parameters
        ----------
        output : str, optional
            The name of the output. Only needed if there are several.

        Raises
        ------
        InputError
            If there is no such output, or several and none is named.
        """
        import pandas as pd

        return pd.DataFrame(self.values[:, :, self._index(output)], columns=self.columns)

    def row(self, k: int = 0, output: str | None = None) -> pd.DataFrame:
        """The contributions of one row, the largest first.

        Parameters
        ----------
        k : int, default=0
            The number of the row.
        output : str, optional
            The name of the output; by default the one with the largest prediction.

        Returns
        -------
        DataFrame
            The columns ``value`` and ``contribution``, with the names of the columns as index.
        """
        import pandas as pd

        k, j = self._row_and_output(k, output)
        order = np.argsort(-np.abs(self.values[k, :, j]), kind="stable")
        return pd.DataFrame(
            {"value": self.data[k, order], "contribution": self.values[k, order, j]},
            index=pd.Index([self.columns[i] for i in order], name="column"),
        )

    def text(self, k: int = 0, output: str | None = None) -> str:
        """The contributions of one row, as text with bars. Arguments as for :meth:`row`."""
        k, j = self._row_and_output(k, output)
        table = self.row(k, self.outputs[j])
        rest = table.contribution[SHOWN:].sum()
        table = table[:SHOWN]
        widest = max(map(len, [*table.index, "everything else"]))
        values = [_shortened(value) for value in table.value]
        width = max(map(len, values), default=0)
        largest = np.abs(table.contribution).max() or 1.0
        lines = [f"{self.outputs[j]}: {self.predicted[k, j]:.6g}, compared with {self.base[j]:.6g}"]
        for name, value, amount in zip(table.index, values, table.contribution, strict=True):
            bar = "█" * round(BAR * abs(amount) / largest)
            lines.append(f"  {name:<{widest}}  {value:<{width}}  {amount:>+12.6g}  {bar}")
        if len(self.columns) > SHOWN:
            lines.append(f"  {'everything else':<{widest}}  {'':<{width}}  {rest:>+12.6g}")
        return "\n".join(line.rstrip() for line in lines)

    def to_shap(self) -> Any:
        """The same as a ``shap.Explanation``, for the plots of shap.

        Raises
        ------
        ImportError
            If shap is not installed.
        """
        try:
            import shap
        except ModuleNotFoundError as error:
            if error.name != "shap":
                raise
            raise ImportError("to_shap needs shap. Install it with: pip install shap") from error

        one = len(self.outputs) == 1
        base = np.tile(self.base, (len(self.values), 1))
        return shap.Explanation(
            self.values[:, :, 0] if one else self.values,
            base_values=base[:, 0] if one else base,
            data=self.data,
            feature_names=self.columns,
            output_names=None if one else self.outputs,
        )

    def __str__(self) -> str:
        some = [self.text(k) for k in range(min(3, len(self.values)))]
        more = len(self.values) - len(some)
        return "\n\n".join([*some, *([f"… and {more} more rows"] if more else [])])

    def _row_and_output(self, k: int, output: str | None) -> tuple[int, int]:
        n = len(self.values)
        if not is_int(k, 0) or k >= n:
            raise InputError(f"the row must be an int from 0 to {n - 1}, got {k!r}.")
        return k, int(self.predicted[k].argmax()) if output is None else self._index(output)

    def _index(self, output: str | None) -> int:
        if output is None and len(self.outputs) == 1:
            return 0
        if output not in self.outputs:
            found = "it is missing" if output is None else f"got {output!r}"
            raise InputError(f"output must be one of {', '.join(self.outputs)}; {found}.")
        return self.outputs.index(output)


def _shortened(value: Any, most: int = 24) -> str:
    text = f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
