"""What the tests of the GPU share; they take CuPy, or its double, as `gpu`."""

import ctypes

import numpy as np
from kernel_cases import changed, several

from benchmarks.calls import function


def placed(gpu, x):
    """`x` on the device, in memory of the same format, amid the same bytes."""
    if not x.size:
        return gpu.zeros(x.shape, x.dtype)
    low, high = np.lib.array_utils.byte_bounds(x)
    around = gpu.asarray(np.frombuffer((ctypes.c_ubyte * (high - low)).from_address(low), np.uint8))
    return gpu.ndarray(x.shape, x.dtype, memptr=around.data + (x.ctypes.data - low), strides=x.strides)


def on(gpu, arguments):
    """A call's arguments with its arrays on the device."""
    return {name: changed(value, lambda x: placed(gpu, x)) for name, value in arguments.items()}


def fetched(results):
    """Arrays of the device, a single one or several, as NumPy's."""
    return tuple(each.get() for each in several(results))


def bits(results):
    """The bytes of the device's arrays."""
    return [each.tobytes() for each in fetched(results)]


def run(name, arguments):
    """The results of a call, one or more."""
    return several(function(name)(**arguments))
