"""Fair timing of things that use all cores, and what to say about the machine."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import upconv
from upconv import kernels

SETTLE = 0.025  # seconds: threads of OpenMP were seen to spin for 10 ms after work, waiting for more


def interleaved(
    candidates: Sequence[Callable[[], Any]], rounds: int, calls: int = 3, settle: float = SETTLE
) -> list[float]:
    """The median time of each candidate in seconds, from `rounds` of `calls` each, all candidates in every round.

    They take turns, so that a clock that drifts or a neighbour that wakes meets all of them alike. Before its turn a
    candidate runs untimed until the threads of the one before, which still spin, have gone to sleep.
    """
    times: list[list[float]] = [[] for _ in candidates]
    for candidate in candidates:
        candidate()  # compiles, allocates
    for _ in range(rounds):
        for candidate, mine in zip(candidates, times, strict=True):
            end = perf_counter() + settle
            candidate()
            while perf_counter() < end:
                candidate()
            for _ in range(calls):
                start = perf_counter()
                candidate()
                mine.append(perf_counter() - start)
    return [median(mine) for mine in times]


def setting(*others: str) -> str:
    """One line on what ran where."""
    threads = kernels.get_num_threads()
    parts = [f"upconv {upconv.__version__}", *others, _processor(), f"{threads} thread" + ("s" if threads > 1 else "")]
    return ", ".join(parts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
