"""What the GPU that computes can do, asked of CuPy once for each."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..namespace import cupy

TENSOR_CORES = 80  # compute capability 8.0: TF32 on tensor cores, and copies to shared memory that run by themselves


@cache
def _abilities(number: int) -> tuple[int, str]:
    """Of a GPU: the bytes of shared memory that a block may ask for, and the compute capability, "80" for 8.0."""
    xp: Any = cupy()
    device = xp.cuda.Device(number)
    return device.attributes["MaxSharedMemoryPerBlockOptin"], device.compute_capability


def _current() -> tuple[int, str]:
    xp: Any = cupy()
    return _abilities(xp.cuda.runtime.getDevice())


def shared_memory() -> int:
    """Bytes that a block may ask for."""
    return _current()[0]


def no_tensor_cores() -> str | None:
    """Why this GPU cannot run the kernels for tensor cores; None if it can."""
    capability = _current()[1]
    if int(capability) >= TENSOR_CORES:
        return None
    return f"it needs a GPU of compute capability 8.0 or more, this one has {capability[:-1]}.{capability[-1]}"
