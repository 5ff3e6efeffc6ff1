"""From a table to X and y: reading files, recognising the task, encoding columns."""

from deltaprop.data.encoder import TableEncoder, as_frame
from deltaprop.data.predicting import predict_stream, predictions
from deltaprop.data.reading import TableError, read_table
from deltaprop.data.streaming import Stream, stream
from deltaprop.data.task import recognise_task, split_target

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
