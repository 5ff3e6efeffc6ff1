"""Errors that the user can correct: a wrong argument, an unreadable file, unusable data.

The command line prints the message of an :class:`InputError` and exits with code 2. Every other
exception is a bug and shows its traceback. Both classes derive from the built-in exceptions that
the conventions of Python and scikit-learn ask for, so ``except ValueError`` catches them as well.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

PACKAGE = os.path.dirname(__file__) + os.sep  # noqa: PTH120, as in the names of code
WRAPPERS = tuple(  # of methods, which stand between these and who calls them
    os.sep + str(Path(*parts))
    for parts in (
        ("contextlib.py",), ("sklearn", "callback", "_callback_support.py"),
        ("sklearn", "utils", "_set_output.py"),
    )
)  # fmt: skip


class InputError(ValueError):
    """An argument, file or table is invalid; the message says what was expected.

    Examples
    --------
    >>> from deltaprop.errors import InputError
    >>> issubclass(InputError, ValueError)
    True
    """


class InputTypeError(InputError, TypeError):
    """An argument has the wrong type.

    Examples
    --------
    >>> from deltaprop.errors import InputError, InputTypeError
    >>> issubclass(InputTypeError, InputError), issubclass(InputTypeError, TypeError)
    (True, True)
    """


@contextlib.contextmanager
def raised_as_input_error() -> Iterator[None]:
    """Raise an InputError if a function of another library rejects its arguments.

    Put only the call of that function inside, so that errors in deltaprop itself keep their type.

    Examples
    --------
    >>> from deltaprop.errors import raised_as_input_error
    >>> with raised_as_input_error():
    ...     number = float("x")
    Traceback (most recent call last):
        ...
    deltaprop.errors.InputError: could not convert string to float: 'x'
    """
    try:
        yield
    except InputError:
        raise
    except TypeError as error:
        raise InputTypeError(str(error)) from error
    except ValueError as error:
        raise InputError(str(error)) from error


DISTRIBUTIONS = {"sklearn": "scikit-learn"}


@contextlib.contextmanager
def naming_missing_packages(what: str) -> Iterator[None]:
    """Say how to install a package that is missing, if `what` needs one.

    Raises
    ------
    ImportError
        If a package other than deltaprop is not installed.

    Examples
    --------
    >>> from deltaprop.errors import naming_missing_packages
    >>> with naming_missing_packages("This example"):
    ...     import a_package_that_does_not_exist
    Traceback (most recent call last):
        ...
    ImportError: This example needs a_package_that_does_not_exist, which is not installed. ...
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in ("", "deltaprop"):
            raise
        package = DISTRIBUTIONS.get(module, module)
        raise ImportError(
            f"{what} needs {package}, which is not installed. Install it with `pip install "
            f"{package}`, or everything that deltaprop needs with `pip install deltaprop`. NumPy "
            "alone suffices for predictions: dp.load(path, light=True).predict(X)."
        ) from error


Collected = list[tuple[str, type[Warning]]]
_collected: ContextVar[Collected | None] = ContextVar("_collected", default=None)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, with the line outside of deltaprop that led to it; or let :func:`collected` have it.

    Examples
    --------
    >>> from deltaprop.errors import warn
    >>> warn("the table has few rows")
    """
    into = _collected.get()
    if into is None:
        warnings.warn(message, category, stacklevel=_users_line())
    else:
        into.append((message, category))


@contextlib.contextmanager
def collected(into: Collected) -> Iterator[None]:
    """Context in which warnings of this thread are collected.

    ``warnings.catch_warnings`` is for programs with one thread: what it restores is what another
    thread has set meanwhile.

    Examples
    --------
    >>> from deltaprop.errors import collected, warn
    >>> found = []
    >>> with collected(found):
    ...     warn("the table has few rows")
    >>> found
    [('the table has few rows', <class 'UserWarning'>)]
    """
    token = _collected.set(into)
    try:
        yield
    finally:
        _collected.reset(token)


def warn_of(found: Collected) -> None:
    """Warn of what was collected, of the same only once."""
    for message, category in dict.fromkeys(found):
        warn(message, category)


def _users_line() -> int:
    """The `stacklevel` of the caller's warning with which it names a line outside of deltaprop."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_inside(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    return level


def _is_inside(path: str) -> bool:
    return path.startswith(PACKAGE) or path.endswith(WRAPPERS)
