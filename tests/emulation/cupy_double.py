"""A double of CuPy: what `import cupy` gives in tests of the GPU side on a machine without a GPU.

Its arrays are NumPy's in a wrapper (`device_array.py`), its functions NumPy's by name (`device_functions.py`), its
kernels run in the interpreter (`device_kernels.py`). What it does not have is an AttributeError.
"""

import sys
from contextlib import contextmanager
from types import ModuleType

import numpy as np

from emulation import device_cuda
from emulation.device import device
from emulation.device_array import ndarray
from emulation.device_functions import table, ufunc
from emulation.device_kernels import RawKernel, RawModule
from emulation.device_names import SAME
from upconv.kernels.cuda import module


def _module(name, **contents):
    module = ModuleType(name)
    module.__dict__.update(contents)
    return module


def _strided(x, shape=None, strides=None):
    return ndarray._of(x._memory, np.lib.stride_tricks.as_strided(x._host, shape, strides))  # without a base, as CuPy's


def make():
    """The module."""
    contents = {name: getattr(np, name) for name in SAME} | table
    contents |= {"ndarray": ndarray, "ufunc": ufunc, "RawModule": RawModule, "RawKernel": RawKernel}
    contents |= {"get_array_module": lambda *args: cupy if any(isinstance(x, ndarray) for x in args) else np}
    contents |= {"get_default_memory_pool": lambda: device_cuda.pool, "__version__": "14.2.0"}
    cupy = _module("cupy", **contents)
    cupy.cuda = _module("cupy.cuda", **device_cuda.functions)
    stride_tricks = _module("cupy.lib.stride_tricks", as_strided=_strided)
    cupy.lib = _module("cupy.lib", stride_tricks=stride_tricks)
    return cupy


@contextmanager
def installed():
    """The double in the place of CuPy. Gives the module; `.device` of it says what was done (`device.Device`)."""
    before = {name: sys.modules.pop(name) for name in [*sys.modules] if name.split(".")[0] in ("cupy", "cupyx")}
    cupy = make()
    cupy.device = device
    device.forget()
    sys.modules |= {"cupy": cupy, "cupy.cuda": cupy.cuda, "cupy.lib": cupy.lib, "cupyx": None}
    compile_one, compiled = module.Kernel._compiled, []

    def note(kernel, *args):
        compiled.append(kernel)
        return compile_one(kernel, *args)

    module.Kernel._compiled = note
    try:
        yield cupy
    finally:
        module.Kernel._compiled = compile_one
        for kernel in compiled:  # its functions are the double's
            kernel._functions.clear()
        for name in ("cupy", "cupy.cuda", "cupy.lib", "cupyx"):
            del sys.modules[name]
        sys.modules |= before
        device.forget()
