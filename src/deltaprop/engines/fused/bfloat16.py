"""Whether products with factors in bfloat16 are available: see products_bf16.py."""

from __future__ import annotations

import os
from functools import cache

from deltaprop.errors import InputError

EMULATE = "DELTAPROP_EMULATE_BFLOAT16"
"""With "1", this environment variable lets other instructions compute the same bits, slowly."""


def emulated() -> bool:
    """Whether the instruction is emulated."""
    return os.environ.get(EMULATE) == "1"


def available() -> bool:
    """Whether this processor multiplies bfloat16, or emulates it."""
    return emulated() or _has_instruction()


def check_available() -> None:
    """Raise if this processor does not multiply bfloat16."""
    if not available():
        raise InputError(
            "precision='bfloat16' needs a processor with AVX512_BF16 instructions (AMD since Zen "
            "4, Intel's Xeon since Sapphire Rapids), which this one does not have. Leave precision "
            "out."
        )


@cache
def _has_instruction() -> bool:
    import llvmlite.binding as llvm

    return bool(llvm.get_host_cpu_features().get("avx512bf16"))
