"""Models for other programs: ONNX, C, Python, and conversion from and to other libraries.

- ``onnx_files.py`` writes ONNX files. ``graph.py`` builds a graph; ``table.py``, ``dates.py``,
  ``quantiles.py``, ``networks.py``, ``activations.py`` and ``outputs.py`` add the parts of a model
  to it, and ``models.py`` joins them. ``agreement.py`` compares the result with the model.
- ``sklearn_onnx.py``: converters for skl2onnx.
- ``sklearn_estimators.py``, ``torch_modules.py``, ``keras_models.py``, ``onnx_networks.py``:
  conversion from and to other libraries. ``assembly.py`` makes a network of layers.
- ``c_code.py`` writes C headers from the functions of ``c_functions.py``, with names of
  ``identifiers.py``. ``python_code.py`` writes Python files: the model in front of the code of
  ``predictor.py``. Both read the plan of :mod:`deltaprop.plan`.
"""

from deltaprop.export.agreement import Agreement, inputs_of
from deltaprop.export.c_code import to_c
from deltaprop.export.keras_models import from_keras
from deltaprop.export.onnx_files import OnnxFile, to_onnx
from deltaprop.export.onnx_networks import from_onnx
from deltaprop.export.python_code import to_python
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
    "to_c",
    "to_onnx",
    "to_python",
    "to_sklearn",
    "to_torch",
]
