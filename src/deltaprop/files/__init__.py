"""Model files: safetensors with one JSON header, and no pickle anywhere."""

from deltaprop.files.models import describe, load, save
from deltaprop.storage.codec import ModelFileError

__all__ = ["ModelFileError", "describe", "load", "save"]
