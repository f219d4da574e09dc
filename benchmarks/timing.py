"""Fair timing of things that use all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any

SETTLE = 0.025  # seconds: threads of OpenMP were seen to spin for 10 ms after work, waiting for more


def interleaved(
    candidates: Sequence[Callable[[], Any]],
    rounds: int,
    calls: int = 3,
    budget: float = float("inf"),
    settle: float = SETTLE,
) -> list[float]:
    """The median time of each candidate in seconds, from `rounds` of `calls` each, all candidates in every round.

    budget: seconds after which no further round begins.

    They take turns, so that a clock that drifts or a neighbour that wakes meets all of them alike. Before its turn a
    candidate runs untimed until the threads of the one before, which still spin, have gone to sleep.
    """
    times: list[list[float]] = [[] for _ in candidates]
    for candidate in candidates:
        candidate()  # compiles, allocates
    stop = perf_counter() + budget
    for turn in range(rounds):
        if turn and perf_counter() > stop:
            break
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
