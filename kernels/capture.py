"""What a CUDA graph cannot hold: numbers of the host that are others in every step, renewed before each launch.

`upconv.nn.capture` makes graphs. What runs on the host runs when a graph is captured, once; a launch repeats kernels
and what they were given by value.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .layout import Array
from .namespace import cupy

Action = Callable[[], None]


class _Capture(threading.local):
    actions: list[Action] | None = None  # of the capture under way in this thread


_capture = _Capture()


@contextmanager
def capture() -> Iterator[list[Action]]:
    """Within it this thread captures a graph; gives the list of what is to be done before each launch."""
    actions: list[Action] = []
    _capture.actions = actions
    try:
        yield actions
    finally:
        _capture.actions = None


def capturing() -> bool:
    """Whether what runs on the host now is not run again with each launch."""
    return _capture.actions is not None


def before_launch(action: Action) -> None:
    """Have something done before each launch of the graph that is being captured, outside of it."""
    assert _capture.actions is not None
    _capture.actions.append(action)


def uploaded(table: Array, fill: Action) -> Array:
    """`table`, a NumPy array, on the GPU, once `fill` has put numbers into it: now, or before each launch."""
    xp: Any = cupy()
    if not capturing():
        fill()
        return xp.asarray(table)
    there = xp.ndarray(table.shape, table.dtype)

    def renew() -> None:
        fill()
        there.set(table)

    before_launch(renew)
    return there
