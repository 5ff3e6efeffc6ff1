"""From a table to X and y: reading files, recognising the task, encoding columns, streams.

Names are imported when they are first used, so that importing this module imports neither pandas
nor pyarrow nor skrub.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "Stream": "deltaprop.data.streams.stream",
    "TableEncoder": "deltaprop.data.encoder",
    "TableError": "deltaprop.data.reading",
    "TableWarning": "deltaprop.data.reading",
    "UnparsedCells": "deltaprop.data.reading",
    "Overview": "deltaprop.data.overview.describing",
    "as_frame": "deltaprop.data.frames",
    "describe": "deltaprop.data.overview.describing",
    "predict_stream": "deltaprop.data.predicting",
    "predictions": "deltaprop.data.predicting",
    "read_table": "deltaprop.data.reading",
    "recognise_task": "deltaprop.data.task",
    "split_target": "deltaprop.data.task",
    "stream": "deltaprop.data.streams.opening",
}

__all__ = [
    "Overview",
    "Stream",
    "TableEncoder",
    "TableError",
    "TableWarning",
    "UnparsedCells",
    "as_frame",
    "describe",
    "predict_stream",
    "predictions",
    "read_table",
    "recognise_task",
    "split_target",
    "stream",
]

if TYPE_CHECKING:
    from deltaprop.data.encoder import TableEncoder
    from deltaprop.data.frames import as_frame
    from deltaprop.data.overview.describing import Overview, describe
    from deltaprop.data.predicting import predict_stream, predictions
    from deltaprop.data.reading import TableError, TableWarning, UnparsedCells, read_table
    from deltaprop.data.streams.opening import stream
    from deltaprop.data.streams.stream import Stream
    from deltaprop.data.task import recognise_task, split_target


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
