"""What the GPU that computes can do, asked of CuPy once for each."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..namespace import cupy

TENSOR_CORES = 8  # the compute capability from which on they take TF32, and copies to shared memory run by themselves


@cache
def _attributes(device: int) -> dict[str, Any]:
    xp: Any = cupy()
    return xp.cuda.Device(device).attributes


def _attribute(name: str) -> int:
    xp: Any = cupy()
    return _attributes(xp.cuda.runtime.getDevice())[name]


def shared_memory() -> int:
    """Bytes that a block may ask for."""
    return _attribute("MaxSharedMemoryPerBlockOptin")


def no_tensor_cores() -> str | None:
    """Why this GPU cannot run the kernels for tensor cores; None if it can."""
    capability = _attribute("ComputeCapabilityMajor")
    if capability >= TENSOR_CORES:
        return None
    return f"it needs a GPU of compute capability {TENSOR_CORES}.0 or more, this one has {capability}.x"
