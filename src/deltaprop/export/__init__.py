"""Models for other programs: ONNX files, C headers, Python files, and other libraries' models."""

from deltaprop.export.agreement import Agreement, inputs_of
from deltaprop.export.onnx_files import OnnxFile, to_onnx

__all__ = ["Agreement", "OnnxFile", "inputs_of", "to_onnx"]
