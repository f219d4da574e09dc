"""What this machine reaches at most: the rate of fused multiply-adds in registers, and the bandwidth of a copy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from time import perf_counter
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from upconv import kernels
from upconv.kernels.cpu.machine import vectors
from upconv.kernels.cpu.vector import Words

from .results import Peaks
from .shapes import LARGE
from .timing import interleaved

STEPS = 1_000_000  # of the loop, in a call: milliseconds


class Copy:
    """A copy from memory to memory, past the caches."""

    def __init__(self, shape: tuple[int, ...] = LARGE) -> None:
        self.x = kernels.channels_last(np.ones(shape, np.float32))
        self.y = kernels.channels_last(np.empty(shape, np.float32))

    @property
    def bytes(self) -> int:
        """Bytes that are read and written."""
        return 2 * self.x.nbytes

    def __call__(self) -> Any:
        """Make it."""
        return kernels.concatenate([self.x], out=self.y)


@cache
def multiply_adds() -> tuple[Callable[[int, float], float], int]:
    """(a function that makes `steps` steps of fused multiply-adds in registers alone, their FLOPs in a step).

    Half of the registers are sums that do not wait for each other: more than the latency of an FMA times how many begin
    in a cycle.
    """
    kind, dtype = vectors(), np.dtype(np.float32)
    sums, lanes = kind.registers // 2, kind.lanes(dtype)

    @intrinsic
    def chain(typing_context: Any, steps: Any, factor: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            words = Words(builder, dtype, lanes)
            factor = words.repeated(words.rounded(arguments[1]))

            def body(step: Any, *sums: Any) -> list[Any]:
                return [words.multiply_add(each, factor, factor) for each in sums]

            start = [words.constant(float(i)) for i in range(sums)]
            _, results = words.loop(words.integer(0), arguments[0], 1, start, body)
            total = results[0]
            for each in results[1:]:
                total = words.multiply_add(total, factor, each)  # else nobody would need them
            return builder.fpext(words.element(total, 0), context.get_value_type(types.float64))

        return types.float64(types.intp, types.float64), emit

    @numba.njit(nogil=True)
    def run(steps: int, factor: float) -> float:
        return chain(steps, factor)

    run(1, 0.5)
    return run, 2 * sums * lanes


def flops_per_second(threads: int, rounds: int = 9) -> float:
    """FLOPs per second of `threads` threads that do nothing but fused multiply-adds: the best of some rounds."""
    run, flops = multiply_adds()
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            start = perf_counter()
            list(pool.map(lambda _: run(STEPS, 0.5), range(4 * threads)))
            best = min(best, perf_counter() - start)
    return 4 * threads * STEPS * flops / best


def copied_per_second(threads: int, copy: Copy, rounds: int) -> float:
    """Bytes per second, read and written, of a copy."""
    with kernels.num_threads(threads):
        return copy.bytes / interleaved([copy], rounds)[0]


def measure(rounds: int, smoke: bool = False) -> Peaks:
    """All of them."""
    threads = kernels.get_num_threads()
    copy = Copy((2, 5, 12, 12)) if smoke else Copy()
    return Peaks(
        threads=threads,
        flops=flops_per_second(threads),
        flops_one_thread=flops_per_second(1),
        copy=copied_per_second(threads, copy, rounds),
        copy_one_thread=copied_per_second(1, copy, rounds),
    )
