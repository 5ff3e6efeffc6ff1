"""Safe model files: safetensors with one JSON header, and no pickle anywhere."""

from deltaprop.files.codec import ModelFileError
from deltaprop.files.models import describe, load, save

__all__ = ["ModelFileError", "describe", "load", "save"]
