"""The double's `RawModule`: NVRTC compiles it, and the interpreter runs the PTX."""

import re
from functools import cache

import numpy as np
from emulation.device import CUDARuntimeError, device
from emulation.device_array import ndarray

ARCH = "sm_80"
OPTIONS = ("-ftz=true", "--device-as-default-execution-space")  # CuPy adds them to every kernel's
SHARED, MOST_SHARED = 48 * 1024, 163 * 1024  # bytes that a block may have, and may ask for on sm_80
THREADS, ROWS = 1024, 65535  # of a block; of a grid's second and third axes
ENTRY = re.compile(r"\.entry\s+(\w+)\s*\((.*?)\)", re.DOTALL)
PARAMETER = re.compile(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)(\s+\.ptr\b[^,\[]*)?\s+\w+(?:\[(\d+)\])?", re.DOTALL)


@cache
def compiled(code, options):
    """The interpreter's module, and the parameters of each of its kernels: (bits, is a pointer) each."""
    from emulation.launch import Module, compile_ptx

    ptx = compile_ptx(code, (*options, *OPTIONS), arch=ARCH)
    entries = {name: PARAMETER.findall(text) for name, text in ENTRY.findall(ptx)}
    return Module(ptx), entries


class RawModule:
    """As CuPy's."""

    def __init__(self, *, code=None, options=(), backend="nvrtc"):
        """code: CUDA C++; options: for NVRTC."""
        assert isinstance(options, tuple) and backend == "nvrtc"
        self._module, self._entries = compiled(code, options)

    def get_function(self, name):
        if name not in self._entries:
            raise CUDARuntimeError(f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}")
        return RawKernel(name, self._module, self._entries[name])


class RawKernel:
    """A kernel. Where CuPy would convert or crash, it refuses arguments that are not exactly its C function's."""

    def __init__(self, name, module, parameters):
        """parameters: what the PTX says of them."""
        self.name, self.max_dynamic_shared_size_bytes = name, SHARED
        self._module, self._parameters = module, parameters

    def __setattr__(self, name, value):
        if name == "max_dynamic_shared_size_bytes" and value > MOST_SHARED:
            raise CUDARuntimeError(f"CUDA_ERROR_INVALID_VALUE: {value} bytes of shared memory")
        object.__setattr__(self, name, value)

    def __call__(self, grid, block, args, *, shared_mem=0, enable_cooperative_groups=False):
        grid, block = (sizes(each) for each in (grid, block))
        if min(*grid, *block) < 1 or np.prod(block) > THREADS or max(grid[1:]) > ROWS or grid[0] >= 2**31:
            raise CUDARuntimeError(f"CUDA_ERROR_INVALID_VALUE: {self.name} on grid {grid}, block {block}")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise CUDARuntimeError(f"CUDA_ERROR_INVALID_VALUE: {self.name} with {shared_mem} bytes of shared memory")
        if len(args) != len(self._parameters):
            raise TypeError(f"{self.name} has {len(self._parameters)} parameters, got {len(args)} arguments")
        values = [self._value(number, each) for number, each in enumerate(args)]
        function = self._module.function(self.name)
        kept = tuple(args)  # the memory lives as long as this may run again

        def work():
            assert kept is not None
            device.launches.append((self.name, grid, block, function(grid, block, values, shared=shared_mem)))

        device.do(work)

    def _value(self, number, value):
        kind, pointer, size = self._parameters[number]
        where = f"argument {number} of {self.name}, .{kind}{pointer.strip() and ' pointer'},"
        if value is None or isinstance(value, ndarray):
            if kind not in ("u64", "s64", "b64"):
                raise TypeError(f"{where} got an array")
            return 0 if value is None else value.data.ptr
        if not isinstance(value, np.generic):
            raise TypeError(f"{where} must be an array or a NumPy scalar, got {type(value).__name__}")
        bits = 8 * value.dtype.itemsize
        wanted = 8 * int(size) if size else int(kind[1:])
        if pointer or bits != wanted or (value.dtype.kind == "f") != (kind[0] == "f"):
            raise TypeError(f"{where} got {value.dtype}")
        return value


def sizes(value):
    """A grid or block of three."""
    if not isinstance(value, tuple) or not all(type(each) is int for each in value):
        raise TypeError(f"a grid or block must be a tuple of Python ints, got {value!r}")
    return (*value, 1, 1)[:3]
