"""Callbacks, which the training loop calls before and after each epoch and at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from deltaprop.errors import InputTypeError
from deltaprop.training.history import Epoch

Callback = Callable[[Epoch], object]
"""Called after each epoch; the training stops if it returns True."""


class Callbacks:
    """The callbacks of a training run.

    A callback is any callable that takes an :class:`Epoch`. It may also have the methods
    ``begin_epoch()``, called before each epoch, and ``finish()``, called once at the end of the
    training, after an error as well.
    """

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self._after = tuple(callbacks)
        self._before = _hooks(self._after, "begin_epoch")
        self._at_end = _hooks(self._after, "finish")

    def __len__(self) -> int:
        return len(self._after)

    def begin_epoch(self) -> None:
        for hook in self._before:
            hook()

    def end_epoch(self, event: Epoch) -> bool:
        """Call every callback. Returns whether training should stop."""
        return any([bool(callback(event)) for callback in self._after])  # noqa: C419

    def finish(self) -> None:
        for hook in self._at_end:
            hook()


def check_callbacks(callbacks: Iterable[Callback] | None) -> tuple[Callback, ...]:
    """The callbacks as a tuple; raises TypeError if one of them is not callable."""
    checked = tuple(callbacks or ())
    for callback in checked:
        if not callable(callback):
            raise InputTypeError(
                f"callbacks must be functions that take an Epoch, got {callback!r} of type "
                f"{type(callback).__name__}."
            )
    return checked


def _hooks(callbacks: Iterable[Any], name: str) -> list[Callable[[], object]]:
    return [getattr(callback, name) for callback in callbacks if hasattr(callback, name)]
