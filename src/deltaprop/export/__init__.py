"""Models for other programs: ONNX files, and conversion from and to other libraries.

- ``onnx_files.py`` writes ONNX files. ``graph.py`` builds a graph; ``table.py``, ``dates.py``,
  ``networks.py``, ``activations.py`` and ``outputs.py`` add the parts of a model to it, and
  ``models.py`` joins them. ``agreement.py`` compares the result with the model.
- ``sklearn_onnx.py``: converters for skl2onnx.
- ``sklearn_estimators.py``, ``torch_modules.py``, ``keras_models.py``, ``onnx_networks.py``:
  conversion from and to other libraries. ``assembly.py`` makes a network of layers.
"""

from deltaprop.export.agreement import Agreement, inputs_of
from deltaprop.export.keras_models import from_keras
from deltaprop.export.onnx_files import OnnxFile, to_onnx
from deltaprop.export.onnx_networks import from_onnx
from deltaprop.export.sklearn_estimators import from_sklearn, to_sklearn
from deltaprop.export.torch_modules import from_torch, to_torch

__all__ = [
    "Agreement",
    "OnnxFile",
    "from_keras",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "inputs_of",
    "to_onnx",
    "to_sklearn",
    "to_torch",
]
