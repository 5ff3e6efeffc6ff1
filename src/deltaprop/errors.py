"""Errors that the user can correct: a wrong argument, an unreadable file, unusable data.

The command line prints the message of an :class:`InputError` and exits with code 2. Every other
exception is a bug and shows its traceback. Both classes derive from the built-in exceptions that
the conventions of Python and scikit-learn ask for, so ``except ValueError`` catches them as well.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

INSIDE = (str(Path(__file__).parent), "_callback_support.py")  # scikit-learn's wrapper of fit


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


def users_line() -> int:
    """The `stacklevel` of a warning that names the line outside of deltaprop which led to it.

    Examples
    --------
    >>> import warnings
    >>> from deltaprop.errors import users_line
    >>> warnings.warn("the number of rows is small", stacklevel=users_line())
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_inside(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    return level


def _is_inside(path: str) -> bool:
    package, wrapper = INSIDE
    return path.startswith(package) or path.endswith(wrapper)
