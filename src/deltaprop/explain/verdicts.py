"""The report of a verification: one row for each equation, as text and as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import escape

# The verdict is also a word, so that it does not depend on colour.
_HTML_STYLE = {"FAILS": ' style="font-weight:bold;color:#c00"', "follows": ' style="color:#a60"'}


@dataclass(frozen=True)
class Equation:
    """The result of checking one equation.

    Attributes
    ----------
    equation : str
        The equation that was checked.
    method : str
        "complex step", "central" differences, "exact" recomputation or the comparison of "two
        forms" of a loss; and the number of entries if not all were checked.
    error : float
        The largest difference, relative to the largest entry.
    ok : bool
        Whether the equation holds.
    where : str
        The layer and entry with the largest difference.
    because : tuple of str
        The wrong equations that make this one fail; empty if it holds or is wrong itself.
    """

    equation: str
    method: str
    error: float
    ok: bool
    where: str
    because: tuple[str, ...] = ()


def _distance(row: Equation) -> tuple[bool, bool, float]:
    """How far an equation is from holding; furthest if it is wrong itself."""
    return not row.ok and not row.because, not row.ok, row.error


@dataclass(frozen=True)
class Verification:
    """The report of :meth:`deltaprop.Network.check`, with a row for each equation.

    Attributes
    ----------
    rows : list of Equation

    Examples
    --------
    >>> import deltaprop as dp
    >>> wrong = dp.Activation("sine", lambda a, xp: xp.sin(a), lambda a, z, xp: -xp.cos(a))
    >>> net = dp.Network(2, [dp.Dense(3, wrong), dp.Dense(1)], loss="squared_error", seed=0)
    >>> report = net.check([[0.1, 0.2]], [1.0])
    >>> [row.equation for row in report.wrong]
    ['sine′ at a_0']
    >>> print(report.conclusion)
    Wrong: sine′ at a_0. 3 other equations fail only because of that.
    """

    rows: list[Equation] = field(default_factory=list)

    @classmethod
    def worst_of(cls, parts: Mapping[str, Verification]) -> Verification:
        """For each equation, the row of the part where it is furthest from holding.

        Parameters
        ----------
        parts : mapping of str to Verification
            Of networks with the same equations, by names that are added to ``where``.
        """
        found: dict[str, list[Equation]] = {}
        for name, part in parts.items():
            for row in part.rows:
                named = replace(row, where=f"{name}, {row.where}")
                found.setdefault(row.equation, []).append(named)
        return cls([max(rows, key=_distance) for rows in found.values()])

    @property
    def ok(self) -> bool:
        """Whether every equation holds."""
        return all(row.ok for row in self.rows)

    @property
    def wrong(self) -> list[Equation]:
        """The equations that are wrong themselves, not because of another one."""
        return [row for row in self.rows if not row.ok and not row.because]

    @property
    def conclusion(self) -> str:
        """The report in one line."""
        if self.ok:
            return f"All {len(self.rows)} equations hold."
        others = sum(not row.ok for row in self.rows) - len(self.wrong)
        named = ", ".join(row.equation for row in self.wrong)
        if not others:
            return f"Wrong: {named}."
        fail = "equation fails" if others == 1 else "equations fail"
        return f"Wrong: {named}. {others} other {fail} only because of that."

    def _cells(self) -> list[tuple[str, ...]]:
        lines: list[tuple[str, ...]] = [("equation", "method", "error", "", "where")]
        for row in self.rows:
            verdict = "holds" if row.ok else "follows" if row.because else "FAILS"
            where = (
                f"{row.where}; because of {', '.join(row.because)}" if row.because else row.where
            )
            lines.append((row.equation, row.method, f"{row.error:.1e}", verdict, where))
        return lines

    def __str__(self) -> str:
        lines = self._cells()
        widths = [max(len(line[i]) for line in lines) for i in range(5)]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([*table, self.conclusion])

    def _repr_html_(self) -> str:
        head, *body = self._cells()
        rows = [
            "".join(f"<td>{escape(cell)}</td>" for cell in line).join(
                (f'<tr class="{line[3].lower()}"{_HTML_STYLE.get(line[3], "")}>', "</tr>")
            )
            for line in body
        ]
        titles = "".join(f"<th>{escape(title or 'verdict')}</th>" for title in head)
        return (
            f'<table class="deltaprop-verification"><caption>{escape(self.conclusion)}</caption>'
            f"<thead><tr>{titles}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        )
