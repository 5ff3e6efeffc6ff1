"""From a table to X and y: reading files, recognising the task, encoding columns."""

from deltaprop.tables.encoder import TableEncoder, as_frame
from deltaprop.tables.predicting import predict_stream, predictions
from deltaprop.tables.reading import TableError, read_table
from deltaprop.tables.streaming import Stream, stream
from deltaprop.tables.task import recognise_task, split_target

__all__ = [
    "Stream",
    "TableEncoder",
    "TableError",
    "as_frame",
    "predict_stream",
    "predictions",
    "read_table",
    "recognise_task",
    "split_target",
    "stream",
]
