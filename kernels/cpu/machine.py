"""What this CPU has: how wide its vectors are, and how many registers hold them."""

import os
import platform
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm
import numpy as np

LINE = 64  # bytes in a cache line, and in the widest vector


@dataclass(frozen=True)
class Vectors:
    """A vector instruction set: bytes in a register, and how many registers there are."""

    name: str
    width: int
    registers: int

    def lanes(self, dtype: np.dtype) -> int:
        """Numbers of `dtype` in a register."""
        return self.width // dtype.itemsize


AVX512 = Vectors("avx512", 64, 32)
AVX2 = Vectors("avx2", 32, 16)
SIMD128 = Vectors("simd128", 16, 32 if platform.machine() in ("arm64", "aarch64") else 16)
KINDS = {kind.name: kind for kind in (AVX512, AVX2, SIMD128)}


@cache
def native() -> Vectors:
    """The widest vectors this CPU has."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return AVX512
    return AVX2 if features.get("avx2") and features.get("fma") else SIMD128


def vectors() -> Vectors:
    """The vectors to use: $UPCONV_VECTORS (avx512, avx2, simd128) where it is set, else the widest.

    Vectors wider than the CPU's are correct too, only slow: the compiler splits them.
    """
    name = os.environ.get("UPCONV_VECTORS")
    if not name:
        return native()
    if name not in KINDS:
        raise ValueError(f"UPCONV_VECTORS must be one of {', '.join(KINDS)}, got {name!r}")
    return KINDS[name]
