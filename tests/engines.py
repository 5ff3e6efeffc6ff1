"""The engines that must agree with the reference engine, with each dtype."""

import pytest

OTHER_ENGINES = [
    ("fused", "float64"),
    ("fused", "float32"),
    ("xla", "float64"),
    pytest.param("xla", "float32", marks=pytest.mark.slow),  # compiles the same program again
]
