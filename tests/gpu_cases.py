"""What the tests of the GPU share; they take CuPy, or its double, as `gpu`."""

import ctypes

import numpy as np
from kernel_cases import arranged, changed, several

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


def same_as_reference(gpu, name, arguments, format="channels_last", tolerance=0):
    """Run a call's CUDA kernel: its results are the reference's, to the bit or to so many epsilons of the largest."""
    given = {each: changed(value, lambda x: arranged(x, format)) for each, value in arguments.items()}
    results = fetched(run(name, on(gpu, given) | {"algorithm": "cuda"}))
    expected = several(function(name)(**arguments, algorithm="reference"))
    for ours, right in zip(results, expected, strict=True):
        assert (ours.shape, ours.dtype) == (right.shape, right.dtype)
        if tolerance:
            bound = tolerance * np.finfo(right.dtype).eps * np.abs(right).max()
            np.testing.assert_allclose(ours, right, rtol=0, atol=bound, err_msg=f"{name} of {format}")
        else:
            np.testing.assert_array_equal(ours, right, err_msg=f"{name} of {format}")


def moved(gpu, name, arguments, text=""):
    """(read, written) for each kernel that a call starts: bytes of the sectors that its instructions touch, each by
    itself. text: what those instructions contain.
    """
    given = on(gpu, arguments)
    gpu.device.forget()
    run(name, given | {"algorithm": "cuda"})
    return [tuple(32 * each.of("global", kind, text).used for kind in ("read", "write")) for each in counted(gpu)]


def counted(gpu):
    """What the emulation has counted of each kernel started."""
    return [counts for *_, counts in gpu.device.launches]
