"""A GPU as it is measured: arrays on it, times by its own clock, and the ceilings that no kernel passes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import ceil
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from upconv import kernels
from upconv._extras import require
from upconv.nn.device import EXTRAS, moved

from .results import Unusable

TURN = 2e-3  # seconds of a candidate's turn, at least
AHEAD = 0.2  # seconds of copies that a turn begins with, at most: the host gets ahead of the device meanwhile
MOST = 64  # sets of inputs
SIZE, MATRIX = 2**28, 8192  # numbers of a copy, and of a row of a matrix: both far beyond the L2

Candidate = Sequence[Callable[[], Any]]  # the same work on one set of inputs after the other


class Gpu:
    """CuPy's current device."""

    def __init__(self, *, smoke: bool = False) -> None:
        """smoke: tiny ceilings. Raises ImportError without CuPy, Unusable where no GPU answers."""
        self.cupy: Any = require("cupy", extra=EXTRAS)
        self.runtime = self.cupy.cuda.runtime
        try:
            self.number = self.runtime.getDevice()
            self.facts = self.runtime.getDeviceProperties(self.number)
        except RuntimeError as error:
            raise Unusable(f"no GPU answers: {error}") from error
        self.size, self.matrix = (1024, 16) if smoke else (SIZE, MATRIX)
        numbers = self.cupy.ones(self.size, np.float32)
        self._copy = (partial(self.cupy.copyto, self.cupy.empty_like(numbers), numbers),)
        self._seconds = 0.0  # of the copy
        self._seconds = self.times([self._copy], 3)[0]

    # arrays

    def place(self, value: Any) -> Any:
        """An array, or several, on the device in the same memory format; anything else as it is."""
        if isinstance(value, list):
            return [self.place(each) for each in value]
        return moved(value, "cuda") if isinstance(value, np.ndarray) else value

    def sets(self, size: int) -> int:
        """How many sets of inputs of so many bytes the L2 does not hold."""
        return max(1, min(MOST, ceil(2 * self.facts.get("l2CacheSize", 0) / max(1, size))))

    def free(self) -> None:
        """Give memory back that no array is in, for others to have."""
        self.cupy.get_default_memory_pool().free_all_blocks()

    def answers(self) -> bool:
        """Whether it still computes: after a fault of a kernel it refuses all that this process asks for."""
        try:
            self.cupy.cuda.Device().synchronize()
        except RuntimeError:
            return False
        return True

    # times

    def times(self, candidates: Sequence[Candidate], rounds: int) -> list[float]:
        """The median seconds of each candidate's calls, from events on the device, all candidates in every round.

        A turn begins with copies for as long as the host needs to start the turn's calls, so that it is the device
        that is timed; calls that wait for the device themselves are timed with their waiting.
        """
        spent: list[list[float]] = [[] for _ in candidates]
        plans = [self._plan(candidate) for candidate in candidates]
        for _ in range(rounds):
            for candidate, (passes, copies), mine in zip(candidates, plans, spent, strict=True):
                start, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
                for _ in range(copies):
                    self._copy[0]()
                start.record()
                for _ in range(passes):
                    for call in candidate:
                        call()
                end.record()
                end.synchronize()
                took = self.cupy.cuda.get_elapsed_time(start, end) / 1e3
                mine.append(took / (passes * len(candidate)))
        return [median(mine) for mine in spent]

    def _plan(self, candidate: Candidate) -> tuple[int, int]:
        """(passes over the sets in a turn, copies before it)."""
        for call in candidate:
            call()  # compiles, allocates
        self.cupy.cuda.Device().synchronize()
        begin = perf_counter()
        for call in candidate:
            call()
        started = perf_counter() - begin
        self.cupy.cuda.Device().synchronize()
        passes = max(1, ceil(TURN / max(perf_counter() - begin, 1e-6)))
        wanted = min(AHEAD, 1.5 * started * passes)
        return passes, ceil(wanted / self._seconds) if self._seconds else 0

    # ceilings

    def copied(self, rounds: int) -> float:
        """Bytes per second, read and written, of a copy on the device."""
        return 2 * 4 * self.size / self.times([self._copy], rounds)[0]

    def multiplied(self, rounds: int, precision: str) -> float:
        """FLOPs per second of a large product of float32 matrices, by cuBLAS."""
        a, b = (self.cupy.ones((self.matrix, self.matrix), np.float32) for _ in range(2))
        with self.products(precision):
            seconds = self.times([(lambda: self.cupy.matmul(a, b),)], rounds)[0]
        return 2 * self.matrix**3 / seconds

    @contextmanager
    def products(self, precision: str) -> Iterator[None]:
        """Within it CuPy's products of float32 matrices have this precision, "fp32" or "tf32"."""
        from cupy._core import _routines_linalg as library  # what CUPY_TF32=1 sets, for the whole process

        before = library.get_compute_type(np.float32)
        kind = library.COMPUTE_TYPE_TF32 if precision == "tf32" else library.COMPUTE_TYPE_DEFAULT
        library.set_compute_type(np.float32, kind)
        try:
            yield
        finally:
            library.set_compute_type(np.float32, before)

    def environment(self) -> dict[str, str]:
        """Names and values of what there is."""
        facts = self.facts
        return {
            "GPU": facts["name"].decode(),
            "compute capability": f"{facts['major']}.{facts['minor']}",
            "multiprocessors": str(facts["multiProcessorCount"]),
            "memory of the GPU": f"{facts['totalGlobalMem'] / 2**30:.0f} GiB",
            "driver": _driver(),
            "CUDA": f"{_version(self.runtime.runtimeGetVersion())}, driver {_version(self.runtime.driverGetVersion())}",
            "CuPy": self.cupy.__version__,
        }


@contextmanager
def precise(precision: str, peer: Any = None) -> Iterator[None]:
    """Within it convolutions and products have this precision, PyTorch's too where that is the peer."""
    flags = () if peer is None else (peer.torch.backends.cuda.matmul, peer.torch.backends.cudnn)
    before = [each.allow_tf32 for each in flags]
    try:
        for each in flags:
            each.allow_tf32 = precision == "tf32"
        with kernels.precision(precision):
            yield
    finally:
        for each, value in zip(flags, before, strict=True):
            each.allow_tf32 = value


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip().replace("\n", "; ") if done.returncode == 0 else "unknown"
