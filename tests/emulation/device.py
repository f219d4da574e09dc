"""The double's device: its memory, what it was asked to do, and what a capturing stream records."""

import weakref
from collections import Counter
from math import prod

import numpy as np

from emulation.memory import allocations

ALIGNED = 256  # bytes: CuPy's pool gives no less
ZONE = 256  # bytes before and behind an array that no kernel may touch
POISON = 0xFF  # each byte of fresh memory: NaN


class CUDARuntimeError(RuntimeError):
    """What CuPy raises where the runtime refuses."""


class Device:
    """What tests read: transfers to the host and uploads by name, the kernels started, the stream that captures."""

    def __init__(self):
        self.forget()

    def forget(self):
        """As when the process began."""
        self.transfers, self.uploads, self.launches = Counter(), Counter(), []
        self.stream, self.capturing = None, None  # the current stream; the list of a capture's works
        self.allocator = alloc  # what gives memory

    @property
    def names(self):
        """How often each kernel has been started."""
        return Counter(name for name, *_ in self.launches)

    def wait(self, what, counter=None):
        """The host waits for the device, which a captured stream cannot do."""
        if self.capturing is not None:
            raise CUDARuntimeError(
                f"cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing ({what})"
            )
        if counter is not None:
            counter[what] += 1

    def transfer(self, what):
        """Numbers go to the host, which waits for them."""
        self.wait(what, self.transfers)

    def upload(self, what):
        """Numbers come from the host."""
        self.wait(what, self.uploads)

    def do(self, work):
        """Run `work` now, or when the graph being captured is launched."""
        if self.capturing is None:
            work()
        else:
            self.capturing.append(work)


class Memory:
    """An allocation: as CuPy's MemoryPointer, `ptr` is its address."""

    def __init__(self, size):
        """size: bytes."""
        whole = np.full(size + 2 * ZONE + ALIGNED, POISON, np.uint8)
        start = ZONE + -(whole.ctypes.data + ZONE) % ALIGNED
        self.bytes, self.size = whole[start : start + size], size
        self.ptr = whole.ctypes.data + start
        if size:
            allocations.add(self.ptr, size)
            weakref.finalize(self, allocations.remove, self.ptr).atexit = False

    def array(self, shape, dtype, strides=None, offset=0):
        """A NumPy array in it, for the double alone."""
        return np.ndarray(shape, dtype, self.bytes, offset, strides)

    @property
    def whole(self):
        """What must live for its addresses to be valid."""
        return self


class Lent(Memory):
    """A pool's memory, which gets it back when no array is in it any more."""

    whole = None  # the allocation

    def __init__(self, whole, back):
        """back: a function that takes the allocation back."""
        self.whole, self.bytes, self.size, self.ptr = whole, whole.bytes, whole.size, whole.ptr
        weakref.finalize(self, back, whole).atexit = False


def fresh(shape, dtype, strides=None):
    """New memory for a dense array, and the array: C-contiguous, or with the (dense, positive) `strides`."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {dtype}")
    shape = tuple(int(n) for n in shape) if isinstance(shape, (tuple, list)) else (int(shape),)
    memory = device.allocator(prod(shape) * dtype.itemsize).memory
    return memory, memory.array(shape, dtype, strides)


class Flags:
    """What CuPy tells of a memory layout: no `writeable`, no `aligned`."""

    def __init__(self, host, base):
        """host: the NumPy array; base: what the array is a view of."""
        self.c_contiguous, self.f_contiguous = host.flags.c_contiguous, host.flags.f_contiguous
        self.owndata, self.fnc, self.forc = base is None, host.flags.fnc, host.flags.forc

    def __getitem__(self, name):
        return getattr(self, name.lower())


class Pointer:
    """As CuPy's MemoryPointer: a place in an allocation."""

    def __init__(self, memory, ptr):
        """ptr: the address."""
        self.memory = self.mem = memory
        self.ptr, self.device_id = ptr, 0

    def __add__(self, offset):
        return Pointer(self.memory, self.ptr + offset)


def alloc(size):
    """As `cupy.cuda.alloc`."""
    memory = Memory(size)
    return Pointer(memory, memory.ptr)


device = Device()
