"""All tables, and the halves for development and for the report.

The halves follow a rule: the tables of a task are sorted by rows and name, and take turns. They are
also written down, so that a new table does not move the others; a test compares both.
"""

from __future__ import annotations

from itertools import chain

from benchmarks.tables import classification, regression
from benchmarks.tables.table import CLASSIFICATION, REGRESSION, Table

TABLES: dict[str, Table] = {t.name: t for t in chain(classification.TABLES, regression.TABLES)}
DEVELOPMENT = (
    "wine", "breast cancer", "German credit", "titanic", "contraceptive", "smokers", "leaves",
    "mortgages", "splice", "email", "credit scoring", "world values", "light chains",
    "pension plans", "taxi tips", "gamma rays", "Trump voters", "baseball salaries", "diabetes",
    "wages 1982", "heights", "fuel economy", "Saratoga", "Ames", "college grades", "developers",
    "computers", "births", "bird strikes", "New York weather", "wages 1988", "college earnings",
    "movies",
)  # fmt: skip
HELD_OUT = (
    "penguins", "hawks", "orange juice", "seattle weather", "British elections", "digits",
    "cells", "Chilean plebiscite", "baseball swings", "grid jobs", "spambase", "satellite image",
    "health insurance", "lending club", "covid tests", "car accidents", "police stops", "cars",
    "house prices", "Sacramento", "concrete", "birth weight", "language scores",
    "wages in New Jersey", "doctor visits", "train riders", "first grade", "loan rates",
    "hotel rates", "restaurant inspections", "rodents", "diamonds", "lecture ratings",
)  # fmt: skip
HALVES = {"development": DEVELOPMENT, "held out": HELD_OUT}


def half_of(name: str) -> str:
    """Return the half that a table belongs to."""
    return next(half for half, names in HALVES.items() if name in names)


def by_rule() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the two halves by the rule."""
    ordered = []
    for task in (CLASSIFICATION, REGRESSION):
        tables = [table for table in TABLES.values() if table.task == task]
        ordered.append([t.name for t in sorted(tables, key=lambda t: (t.rows, t.name))])
    development, held_out = (
        tuple(chain.from_iterable(names[start::2] for names in ordered)) for start in (0, 1)
    )
    return development, held_out
