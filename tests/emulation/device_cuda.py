"""The double's `cupy.cuda`: one device, streams that run at once, and graphs of what a stream captured."""

import time
from contextlib import contextmanager
from types import SimpleNamespace

from emulation.device import CUDARuntimeError, Lent, Memory, Pointer, alloc, device

UNIT = 512  # bytes of which a pool gives whole numbers


class Graph:
    """What a stream has captured: `launch` does it again, in the same memory."""

    def __init__(self, works):
        """works: functions without arguments."""
        self._works = works

    def launch(self, stream=None):
        for work in self._works:
            work()

    def upload(self, stream=None):
        pass


class Stream:
    """A stream. Works are done when they are given to it, but while it captures."""

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        """As CuPy's."""
        self._null, self._works, self._before = null, None, []
        self.ptr = 0 if null else id(self)

    def __enter__(self):
        self._before.append(device.stream)
        return self.use()

    def __exit__(self, *exception):
        self._use(self._before.pop())

    def use(self):
        self._use(self)
        return self

    @staticmethod
    def _use(stream):
        device.stream = stream
        device.capturing = None if stream is None else stream._works

    def begin_capture(self, mode=None):
        if self._null:
            raise RuntimeError("cannot capture legacy default stream")
        if self._works is not None:
            raise CUDARuntimeError("cudaErrorIllegalState: the operation cannot be performed in the present state")
        self._works = []
        if device.stream is self:
            device.capturing = self._works

    def end_capture(self):
        if self._works is None:
            raise CUDARuntimeError("cudaErrorIllegalState: the operation cannot be performed in the present state")
        works, self._works = self._works, None
        if device.stream is self:
            device.capturing = None
        return Graph(works)

    def is_capturing(self):
        return self._works is not None

    def synchronize(self):
        if self._works is not None:
            device.wait("synchronize")

    def wait_event(self, event):
        pass

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    @property
    def done(self):
        return True


Stream.null = Stream(null=True)


class Event:
    """A moment on a stream."""

    def __init__(self, block=True, disable_timing=False, interprocess=False):
        """As CuPy's."""
        self._at = None

    def record(self, stream=None):
        self._at = time.perf_counter()

    def synchronize(self):
        device.wait("synchronize")

    @property
    def done(self):
        return self._at is not None


class Device:
    """The device 0, which computes as sm_80 does."""

    def __init__(self, device=0):
        """device: its number."""
        if int(device) != 0:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self.id = 0

    compute_capability = "80"
    mem_info = (60 * 2**30, 80 * 2**30)
    attributes = property(lambda self: {"MultiProcessorCount": 108, "MaxSharedMemoryPerBlockOptin": 166912})
    __enter__ = use = lambda self: self
    __exit__ = lambda self, *exception: None  # noqa: E731

    def synchronize(self):
        device.wait("synchronize")


class MemoryPool:
    """Memory that is given again once no array is in it, as CuPy's is: the smallest that is large enough."""

    def __init__(self, allocator=None):
        """As CuPy's."""
        self._free, self._lent = [], 0

    def malloc(self, size):
        enough = [each for each in self._free if each.size >= size]
        whole = min(enough, key=lambda each: each.size) if enough else Memory(-(-size // UNIT) * UNIT)
        if enough:
            self._free = [each for each in self._free if each is not whole]
        self._lent += whole.size
        return Pointer(Lent(whole, self._back), whole.ptr)

    def _back(self, whole):
        self._free.append(whole)
        self._lent -= whole.size

    def free_all_blocks(self, stream=None):
        self._free.clear()

    def used_bytes(self):
        return self._lent

    def total_bytes(self):
        return self._lent + sum(each.size for each in self._free)


@contextmanager
def using_allocator(allocator=None):
    before, device.allocator = device.allocator, allocator or alloc
    try:
        yield
    finally:
        device.allocator = before


pool = MemoryPool()


def _wait():
    device.wait("deviceSynchronize")


runtime = SimpleNamespace(
    getDevice=lambda: 0,
    getDeviceCount=lambda: 1,
    setDevice=Device,
    deviceSynchronize=_wait,
    driverGetVersion=lambda: 12090,
    runtimeGetVersion=lambda: 12090,
    memGetInfo=lambda: Device.mem_info,
    getDeviceProperties=lambda number: {
        "name": b"a double",
        "major": 8,
        "minor": 0,
        "multiProcessorCount": 108,
        "totalGlobalMem": Device.mem_info[1],
        "sharedMemPerBlockOptin": 166912,
    },
    streamCaptureModeGlobal=0,
    streamCaptureModeThreadLocal=1,
    streamCaptureModeRelaxed=2,
    CUDARuntimeError=CUDARuntimeError,
)
functions = {
    "alloc": lambda size: device.allocator(size),
    "Device": Device,
    "Event": Event,
    "Graph": Graph,
    "MemoryPointer": Pointer,
    "MemoryPool": MemoryPool,
    "Stream": Stream,
    "get_allocator": lambda: device.allocator,
    "get_current_stream": lambda: device.stream or Stream.null,
    "get_elapsed_time": lambda start, end: 1e3 * (end._at - start._at),
    "is_available": lambda: True,
    "runtime": runtime,
    "set_allocator": lambda allocator=None: None,
    "using_allocator": using_allocator,
}
