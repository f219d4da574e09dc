"""Fair timing of things that use all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any

SLOW = 0.5  # seconds
SETTLE = 0.05  # seconds: after work, threads wait for more, at full speed: 33 ms in ONNX Runtime, 10 ms in PyTorch
TURN, MOST = 0.01, 50  # seconds of a turn that short calls fill, and how many calls do: a few of them say little


def interleaved(
    candidates: Sequence[Callable[[], Any]],
    rounds: int,
    calls: int = 3,
    budget: float = float("inf"),
    settle: float = SETTLE,
) -> list[float]:
    """The median time of each candidate in seconds, from `rounds` of `calls` or more, all candidates in every round.

    They take turns, so that a clock that drifts or a neighbour that wakes meets all of them alike. Before its turn a
    candidate runs untimed until the threads of the one before, which still spin, have gone to sleep.

    budget: seconds after which no further round begins. A candidate that takes longer than SLOW is timed once a round.
    """
    times: list[list[float]] = [[] for _ in candidates]
    for candidate in candidates:
        candidate()  # compiles, allocates
    stop = perf_counter() + budget
    for turn in range(rounds):
        if turn and perf_counter() > stop:
            break
        for candidate, mine in zip(candidates, times, strict=True):
            start = perf_counter()
            candidate()
            took = perf_counter() - start
            while perf_counter() < start + settle:
                candidate()
            fitting = min(MOST, int(TURN / max(took, 1e-9)))
            for _ in range(1 if took > SLOW else max(calls, fitting)):
                start = perf_counter()
                candidate()
                mine.append(perf_counter() - start)
    return [median(mine) for mine in times]
