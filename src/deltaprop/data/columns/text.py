"""Columns of text: components of their n-grams, from skrub's StringEncoder."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from deltaprop.data.columns import values
from deltaprop.data.columns.squashing import Squash

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass
class TextColumn:
    """A column of strings with many distinct values.

    Attributes
    ----------
    name : str
    encoder : skrub.StringEncoder
        The frequencies of its 3-grams and 4-grams, reduced to 30 components.
    squash : Squash
        The scale of the components.
    """

    name: str
    encoder: Any
    squash: Squash

    kind: ClassVar = "text"
    choices: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of_values(
        cls,
        name: str,
        labels: list[str | None],
        codes: Int[np.ndarray, " N"],
        random_state: int | None,
    ) -> TextColumn:
        from skrub import StringEncoder

        words = pd.Series([*labels, None], dtype=object, name=name).fillna("")
        encoder = StringEncoder(random_state=random_state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few different n-grams give fewer components
            encoder.fit(words.iloc[codes].reset_index(drop=True))
        components = _components(encoder, words)
        return cls(name, encoder, Squash.fitted(column[codes] for column in components.T))

    def names(self) -> list[str]:
        return [str(name) for name in self.encoder.all_outputs_]

    def flags(self) -> list[str]:
        return []

    def read(self, column: Any) -> Float[np.ndarray, "N k"]:
        """The encoded rows; the n-grams of each distinct value are counted once."""
        labels, codes = values.distinct(column)
        labels = values.without_missing_words(labels)
        words = pd.Series([*labels, None], dtype=object, name=self.name).fillna("")
        encoded = self.squash.apply(_components(self.encoder, words).astype(np.float64).T)
        return encoded.T.astype(np.float32)[codes]

    def write(
        self,
        values: Float[np.ndarray, "n k"],
        out: Float[np.ndarray, "n k"],
        flags: Float[np.ndarray, "n 0"],
    ) -> None:
        out[:] = values

    def is_consistent(self) -> bool:
        return self.squash.has_width(len(self.encoder.all_outputs_))


def _components(encoder: Any, words: pd.Series) -> Float[np.ndarray, "u k"]:
    return encoder.transform(words).to_numpy(dtype=np.float32)
