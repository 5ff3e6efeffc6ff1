"""Columns of text: the main components of their n-grams (latent semantic analysis).

A text is described by how often each sequence of three or four characters within a word occurs in
it, weighted by how rare that sequence is (TF-IDF), and a truncated singular value decomposition
reduces this to 30 numbers. scikit-learn's TfidfVectorizer(analyzer="char_wb") and TruncatedSVD give
the same numbers, but need every row. Here, each distinct value is looked at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from deltaprop.data.columns.description import Description
from deltaprop.data.columns.squashing import Squash
from deltaprop.data.columns.words import without_missing_words

if TYPE_CHECKING:
    from jaxtyping import Float, Int

COMPONENTS = 30
LENGTHS = (3, 4)  # of n-grams


@dataclass
class TextColumn:
    """A column of strings with many distinct values. A missing value is an empty text.

    Attributes
    ----------
    name : str
    terms : list of str
        The n-grams that were seen.
    idf : ndarray of shape (V,)
        Their inverse document frequencies: ln((1 + N) / (1 + df)) + 1.
    components : ndarray of shape (V, k)
        The right singular vectors of the texts' TF-IDF vectors.
    squash : Squash
        The scale of the components.
    n_missing : int or None
        How many were missing in ``fit``; None in files of earlier versions.
    """

    name: str
    terms: list[str]
    idf: Float[np.ndarray, " V"]
    components: Float[np.ndarray, "V k"]
    squash: Squash
    n_missing: int | None = None

    kind: ClassVar[str] = "text"
    choices: ClassVar[tuple[str, ...]] = ()
    DERIVED: ClassVar = ("numbers",)

    @classmethod
    def of_values(
        cls,
        name: str,
        labels: list[str | None],
        codes: Int[np.ndarray, " N"],
        random_state: int | None,
    ) -> TextColumn:
        texts = [word or "" for word in [*labels, None]]
        counts = np.bincount(np.where(codes < 0, len(labels), codes), minlength=len(texts))
        terms = sorted({term for text in texts for term in n_grams(text)})
        tf = _frequencies(texts, {term: i for i, term in enumerate(terms)})
        df = counts @ (tf > 0)
        idf = np.log((1 + len(codes)) / (1 + df)) + 1
        X = _weighted(tf, idf)
        occur = counts > 0
        components = _components(X[occur], counts[occur], random_state)
        encoded = X @ components
        scale = Squash.fitted(z[codes] for z in encoded.T)
        unnamed = [i for i, word in enumerate([*labels, None]) if word is None]
        return cls(name, terms, idf, components, scale, n_missing=int(counts[unnamed].sum()))

    def names(self) -> list[str]:
        k = self.components.shape[1]
        return [f"{self.name}_{i:0{len(str(k - 1))}}" for i in range(k)]

    def flags(self) -> list[str]:
        return []

    def read(self, column: Any) -> Float[np.ndarray, "N k"]:
        """The encoded rows; each distinct value is encoded once."""
        from deltaprop.data.columns import values

        labels, codes = values.distinct(column)
        texts = [word or "" for word in [*without_missing_words(labels), None]]
        X = _weighted(_frequencies(texts, self.numbers), self.idf)
        encoded = self.squash.apply((X @ self.components).T.astype(np.float64))
        rows: np.ndarray = encoded.T.astype(np.float32)[codes]
        return rows

    def write(
        self,
        values: Float[np.ndarray, "n k"],
        out: Float[np.ndarray, "n k"],
        flags: Float[np.ndarray, "n 0"],
    ) -> None:
        out[:] = values

    def describe(self) -> Description:
        return Description(self.n_missing, "an empty text", "the n-grams of it that are known")

    def is_consistent(self) -> bool:
        V, k = len(self.terms), self.components.shape[1]
        return (
            self.idf.shape == (V,) and self.components.shape == (V, k) and self.squash.has_width(k)
        )

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The row of each n-gram in `components`."""
        return {term: i for i, term in enumerate(self.terms)}


def n_grams(text: str) -> Iterator[str]:
    """The n-grams within the words of a text. Words are padded with a space at both ends.

    Examples
    --------
    >>> list(n_grams("To be"))
    [' to', 'to ', ' to ', ' be', 'be ', ' be ']
    """
    for word in text.lower().split():
        padded = f" {word} "
        for n in LENGTHS:
            for start in range(max(1, len(padded) - n + 1)):
                yield padded[start : start + n]
            if len(padded) <= n:  # a longer n-gram would be the same
                break


def _frequencies(texts: list[str], numbers: Mapping[str, int]) -> Any:
    """How often each known n-gram occurs in each text, as a CSR matrix."""
    import scipy.sparse as sp

    found = [[numbers[term] for term in n_grams(text) if term in numbers] for text in texts]
    indices = np.fromiter(itertools.chain.from_iterable(found), np.int64)
    ends = np.cumsum([0, *map(len, found)])
    shape = (len(texts), len(numbers))
    counts = sp.csr_array((np.ones(len(indices), np.float32), indices, ends), shape)
    counts.sum_duplicates()
    return counts


def _weighted(tf: Any, idf: Float[np.ndarray, " V"]) -> Any:
    """The TF-IDF vectors with a Euclidean norm of 1, in place of the frequencies."""
    data = tf.data * idf[tf.indices]
    row = np.repeat(np.arange(tf.shape[0]), np.diff(tf.indptr))
    norms = np.sqrt(np.bincount(row, data * data, minlength=tf.shape[0]))
    tf.data = np.float32(data / norms[row])
    return tf


def _components(
    X: Any, counts: Int[np.ndarray, " u"], random_state: int | None
) -> Float[np.ndarray, "V k"]:
    """The right singular vectors of the rows, in which text u occurs counts[u] times."""
    u, V = X.shape
    if min(u, V) <= COMPONENTS:
        return np.eye(V, min(V, COMPONENTS), dtype=np.float32)
    import scipy.sparse as sp
    from sklearn.decomposition import TruncatedSVD

    rows = sp.csr_matrix(sp.diags_array(np.sqrt(counts).astype(np.float32)) @ X)
    svd = TruncatedSVD(COMPONENTS, random_state=random_state).fit(rows)
    return np.ascontiguousarray(svd.components_.T, dtype=np.float32)
