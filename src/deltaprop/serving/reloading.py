"""The model that is served now, which is replaced when its file is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from deltaprop.serving.metrics import Metrics
from deltaprop.serving.served import Served

Signature = tuple[int, int, int]


class Current:
    """The model that new requests get.

    Requests that have begun keep the model that they began with. If a new file cannot be loaded,
    the previous model stays, which is reported.

    Parameters
    ----------
    path : str
        A path or URL. Only paths are watched.
    name : str or None
        The name of the model in paths; by default, that of the file.
    metrics : Metrics
    report : callable
        Prints a message.

    Raises
    ------
    ModelFileError
        If the file cannot be loaded.
    """

    def __init__(
        self, path: str, name: str | None, metrics: Metrics, report: Callable[[str], None]
    ) -> None:
        self._path, self._name, self._metrics, self._report = path, name, metrics, report
        self._seen = _signature(path)
        self.served = Served.read(path, name)
        self._show()

    async def watch(self, seconds: float) -> None:
        """Look for a new file every so many seconds, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Load the file if it has changed since it was last read."""
        found = _signature(self._path)
        if found is None or found == self._seen:  # while it is replaced, there may be none
            return
        self._seen = found
        try:
            served = Served.read(self._path, self._name)
        except Exception as error:  # whatever it is, the previous model still works
            self._metrics.reloads.add(1, "failed")
            self._metrics.stale.set(1)
            self._report(f"The new model file is not used: {error} The previous model stays.")
            return
        self.served = served
        self._metrics.reloads.add(1, "loaded")
        self._metrics.stale.set(0)
        self._show()
        self._report(f"Loaded the new model file: version {served.version}.")

    def _show(self) -> None:
        self._metrics.model.set(1, self.served.name, self.served.version)


def _signature(path: str) -> Signature | None:
    """What changes when a file is replaced or written to; None if there is no such file."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
