"""The double's `RawModule`: NVRTC compiles it, and the interpreter runs the PTX."""

import re
from functools import cache

import numpy as np

from emulation.device import CUDARuntimeError, device
from emulation.device_array import ndarray
from emulation.launch import Module, compile_ptx

ARCH = "sm_80"
OPTIONS = ("-ftz=true", "--device-as-default-execution-space")  # CuPy adds them to every kernel's
SHARED, MOST_SHARED = 48 * 1024, 163 * 1024  # bytes that a block may have, and may ask for on sm_80
THREADS, ROWS = 1024, 65535  # of a block; of a grid's second and third axes
MOST_THREADS = re.compile(r"\.entry\s+(\w+)\s*\([^)]*\)\s*\.maxntid\s+(\d+)")  # what __launch_bounds__ says


@cache
def compiled(code, options):
    """The interpreter's module, and how many threads the blocks of its kernels may have where they say so."""
    ptx = compile_ptx(code, (*options, *OPTIONS), arch=ARCH)
    return Module(ptx), {name: int(threads) for name, threads in MOST_THREADS.findall(ptx)}


class RawModule:
    """As CuPy's."""

    def __init__(self, *, code=None, options=(), backend="nvrtc"):
        """code: CUDA C++; options: for NVRTC."""
        assert isinstance(options, tuple) and backend == "nvrtc"
        self._module, self._threads = compiled(code, options)

    def get_function(self, name):
        try:
            function = self._module.function(name)
        except KeyError as error:
            raise CUDARuntimeError(f"CUDA_ERROR_NOT_FOUND: {error}") from error
        return RawKernel(name, function, self._threads.get(name, THREADS))


class RawKernel:
    """A kernel. Where CuPy would convert or crash, it refuses arguments that are not exactly its C function's."""

    def __init__(self, name, function, threads):
        """function: the interpreter's; threads: that a block may have."""
        self.name, self.max_dynamic_shared_size_bytes = name, SHARED
        self._function, self._threads = function, threads

    def __setattr__(self, name, value):
        if name == "max_dynamic_shared_size_bytes" and value > MOST_SHARED:
            raise CUDARuntimeError(f"CUDA_ERROR_INVALID_VALUE: {value} bytes of shared memory")
        object.__setattr__(self, name, value)

    def __call__(self, grid, block, args, *, shared_mem=0, enable_cooperative_groups=False):
        grid, block = (sizes(each) for each in (grid, block))
        if min(*grid, *block) < 1 or np.prod(block) > self._threads or max(grid[1:]) > ROWS or grid[0] >= 2**31:
            raise CUDARuntimeError(f"CUDA_ERROR_INVALID_VALUE: {self.name} on grid {grid}, block {block}")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise CUDARuntimeError(f"CUDA_ERROR_INVALID_VALUE: {self.name} with {shared_mem} bytes of shared memory")
        values = [self._value(number, each) for number, each in enumerate(args)]
        self._function.packed(values)  # checks their number, sizes and kinds
        kept = [each._memory.whole for each in args if isinstance(each, ndarray)]  # as long as this may run again

        def work():
            assert kept is not None
            counts = self._function(grid, block, values, shared=shared_mem)
            device.launches.append((self.name, grid, block, counts))

        device.do(work)

    def _value(self, number, value):
        if value is None:
            raise TypeError(f"argument {number} of {self.name}: CuPy makes no null pointer of None")
        if isinstance(value, ndarray):
            return value.data.ptr
        if not isinstance(value, np.generic):
            what = f"argument {number} of {self.name} must be an array or a NumPy scalar"
            raise TypeError(f"{what}, got {type(value).__name__}")
        return value


def sizes(value):
    """A grid or block of three."""
    if not isinstance(value, tuple) or not all(type(each) is int for each in value):
        raise TypeError(f"a grid or block must be a tuple of Python ints, got {value!r}")
    return (*value, 1, 1)[:3]
