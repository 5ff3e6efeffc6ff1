"""Declaration of an estimator's parameters, each as a dataclass field by :func:`parameter`.

``__init__`` is generated from the fields, as for any dataclass. :func:`with_parameters` derives
scikit-learn's ``_parameter_constraints`` and the "Parameters" section of the docstring from them.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import field, fields
from typing import Any, TypeVar, cast

T = TypeVar("T")
E = TypeVar("E", bound=type)


def parameter(default: T, kind: str, constraints: list[object], description: str) -> T:
    """A dataclass field that documents and validates a parameter of an estimator.

    Parameters
    ----------
    default : object
        An immutable value.
    kind : str
        The type in the docstring, such as "float >= 0".
    constraints : list
        The valid values, as in scikit-learn's ``_parameter_constraints``.
    description : str
        The text in the docstring, which is wrapped.
    """
    metadata = {"kind": kind, "constraints": constraints, "description": description}
    return field(default=default, metadata=metadata)


def with_parameters(like: type | None = None) -> Callable[[E], E]:
    """A class decorator that derives constraints and a docstring from an estimator's fields.

    Parameters
    ----------
    like : type, optional
        The estimator from which parameters that are declared without :func:`parameter` take their
        type, constraints and description.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from deltaprop.estimators.declaration import parameter, with_parameters
    >>> @dataclass
    ... class ModelParameters:
    ...     alpha: float = parameter(0.1, "float", [float], "Strength of the penalty.")
    >>> @with_parameters()
    ... class Model(ModelParameters):
    ...     "A model."
    >>> print(Model.__doc__)
    A model.
    <BLANKLINE>
    Parameters
    ----------
    alpha : float, default=0.1
        Strength of the penalty.
    >>> Model(alpha=1.0).alpha, Model._parameter_constraints
    (1.0, {'alpha': [<class 'float'>]})
    """
    shared = {} if like is None else {f.name: f.metadata for f in fields(cast(Any, like))}

    def derive(estimator: Any) -> Any:
        declared = [(f, f.metadata or shared[f.name]) for f in fields(estimator)]
        estimator._parameter_constraints = {f.name: about["constraints"] for f, about in declared}
        estimator.__doc__ = _with_section(
            inspect.cleandoc(estimator.__doc__ or ""),  # None under python -OO
            "\n".join(
                f"{f.name} : {about['kind']}, default={_shown(f.default)}\n"
                + textwrap.fill(
                    about["description"], 96, initial_indent="    ", subsequent_indent="    ",
                    break_long_words=False, break_on_hyphens=False,
                )
                for f, about in declared
            ),
        )  # fmt: skip
        return estimator

    return derive


def _shown(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else repr(default)


def _with_section(docstring: str, parameters: str) -> str:
    """The docstring with a "Parameters" section before "Attributes"."""
    before, heading, after = docstring.partition("Attributes\n----------\n")
    return f"{before.rstrip()}\n\nParameters\n----------\n{parameters}\n\n{heading}{after}".rstrip()
