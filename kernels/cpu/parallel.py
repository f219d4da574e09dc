"""Threads, their scratch memory, and how work is split.

A kernel is called as `kernel(work, scratch, items, *arguments)` by every thread that takes part. It claims items
(`jit.claim`) until there are none left, so a thread that is held up takes fewer. Which thread computes an item never
changes the item's result: the outcome is the same for any number of threads.

The threads are Python's: kernels release the global lock. That makes the pool safe to use from several threads at
once and after `fork`, which Numba's own threading layers are not both.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np

from .jit import add, look
from .jit import kernel as compile_kernel
from .machine import LINE

SMALL = 128 * 1024  # bytes that one thread has moved before a second one helps: about 10 microseconds
SMALL_FLOPS = 8_000_000  # and operations: about 40
SPINS = 400_000  # looks at the bell before a thread without work goes to sleep


def _available() -> int:
    wanted = os.environ.get("UPCONV_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted):
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_threads = _available()


def get_num_threads() -> int:
    """How many threads an operator uses: at first $UPCONV_NUM_THREADS, or the CPUs this process may run on."""
    return _threads


def set_num_threads(count: int) -> None:
    """Use `count` threads (>= 1) from now on, in the whole process. Results do not depend on it."""
    global _threads
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 1024:
        raise ValueError(f"set_num_threads: count must be an integer in 1..1024, got {count!r}")
    _threads = count


@contextmanager
def num_threads(count: int) -> Iterator[None]:
    """Use `count` threads inside a `with` block."""
    before = get_num_threads()
    set_num_threads(count)
    try:
        yield
    finally:
        set_num_threads(before)


class Scratch(threading.local):
    """Memory of one thread, grown as needed and reused by the next kernel."""

    def __init__(self) -> None:
        """Start empty."""
        self._memory = np.empty(0, np.uint8)
        self._start = 0
        self.work = np.zeros(2, np.int64)  # of the call that this thread makes: items claimed, bell
        self.work_address = self.work.ctypes.data

    def address(self, size: int) -> int:
        """The address, on a cache line, of at least `size` bytes."""
        if self._memory.size < size + LINE:
            self._memory = np.empty(size + size // 4 + LINE, np.uint8)
            self._start = -(-self._memory.ctypes.data // LINE) * LINE
        if poison:
            self._memory.fill(0xFF)  # a NaN, whichever dtype it is read as
        return self._start


poison = False  # tests fill scratch with NaN before each kernel
_scratch = Scratch()


@compile_kernel("spin")
def spin(address, wanted, times):  # type: ignore[no-untyped-def]
    """Wait until the integer at an address is `wanted`, but not for long."""
    for _ in range(times):
        if look(address) == wanted:
            return


@compile_kernel("leave")
def leave(state, joined, bell, rung, times):  # type: ignore[no-untyped-def]
    """Be done with a call (see `Call`), and wait until the bell has been rung again, but not for long.

    One function does both without the global lock, which the caller then takes at once: from a thread that holds it
    for a moment it would get it 30 microseconds later, having slept.
    """
    add(state, joined)
    for _ in range(times):
        if look(bell) != rung or look(state + 8):
            return


class Call:
    """One parallel call: the threads that joined it before its caller had finished all the work."""

    def __init__(self, function: Callable[[], None]) -> None:
        """function: what each thread does."""
        self.function = function
        self.error: BaseException | None = None
        self._lock = threading.Lock()
        self._joined = 0
        self._closed = False
        self._idle: threading.Event | None = None
        self._state = np.zeros(2, np.int64)  # how many threads have left; does the caller sleep?
        self.state = self._state.ctypes.data

    def join(self) -> int:
        """Take part, unless the caller is done already; returns whether this thread did."""
        with self._lock:
            if self._closed:
                return 0
            self._joined += 1
        try:
            self.function()
        except BaseException as error:
            self.error = error
        return 1

    def wake(self) -> None:
        """Wake the caller if it sleeps and everybody has left."""
        if self._idle is not None and self._state[0] == self._joined:
            self._idle.set()

    def finish(self) -> None:
        """Let nobody join any more and wait for those who did, even through Ctrl-C."""
        interrupt = None
        while True:
            try:
                with self._lock:
                    self._closed = True
                if self._state[0] != self._joined:
                    spin(self.state, self._joined, SPINS)
                if self._state[0] != self._joined:
                    self._idle = self._idle or threading.Event()
                    self._state[1] = 1
                while self._state[0] != self._joined:
                    self._idle.wait()  # type: ignore[union-attr]
                break
            except KeyboardInterrupt as error:  # the kernels still write to the caller's arrays
                interrupt = error
        if interrupt is not None:
            raise interrupt


class Pool:
    """Daemon threads that wait for calls.

    Waking a thread, or handing it the global lock while it sleeps, takes as long as a small layer. So a thread that has
    finished spins for a while, without the lock, on a bell that the next call's kernel rings once it runs without it.
    """

    def __init__(self) -> None:
        """Start without threads; they come with the first call that wants them."""
        self._calls: SimpleQueue[Call] = SimpleQueue()
        self._size = 0
        self._lock = threading.Lock()
        self._bell = np.zeros(1, np.int64)
        self.bell = self._bell.ctypes.data

    def run(self, function: Callable[[], None], threads: int) -> None:
        """Call `function` in the caller and in up to `threads` - 1 others."""
        call = Call(function)
        try:
            with self._lock:
                while self._size < threads - 1:
                    threading.Thread(target=self._work, name=f"upconv-{self._size}", daemon=True).start()
                    self._size += 1
            for _ in range(threads - 1):
                self._calls.put(call)
            function()
        finally:
            call.finish()
        if call.error is not None:
            raise call.error

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            joined = call.join()
            rung = int(self._bell[0])
            leave(call.state, joined, self.bell, rung, SPINS if self._calls.empty() else 0)
            call.wake()
            del call


_pool = Pool()


def _after_fork() -> None:
    """A child has none of its parent's threads."""
    global _pool
    _pool = Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(kernel: Callable[..., None], items: int, *arguments: Any, scratch: int = 0, small: bool = False) -> None:
    """Run `kernel(work, scratch, items, *arguments)` until its items are done.

    scratch: bytes of memory that each thread is given. small: not worth waking another thread for.
    """
    if items < 1:
        return
    threads = 1 if small else min(_threads, items)
    _scratch.work[:] = 0, _pool.bell if threads > 1 else 0
    address = _scratch.work_address

    def part() -> None:
        kernel(address, _scratch.address(scratch), items, *arguments)

    if threads == 1:
        part()
    else:
        _pool.run(part, threads)


def strided(x: np.ndarray) -> tuple[int, int, int, int]:
    """What a kernel needs of a channels-last map: its address, and the bytes between images, rows and pixels."""
    n, _, h, w = x.strides
    return x.ctypes.data, n, h, w


def balanced(total: int, most: int) -> list[tuple[int, int]]:
    """Cut range(total) into the fewest ranges of at most `most`, as equal as can be."""
    parts = -(-total // most)
    return [(total * part // parts, total * (part + 1) // parts) for part in range(parts)]
