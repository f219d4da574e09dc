"""What a CUDA graph cannot hold: numbers of the host that are others in every step, renewed before each launch.

`upconv.nn.capture` makes graphs. What runs on the host runs when a graph is captured, once; a launch repeats kernels
and what they were given by value.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from .layout import Array
from .namespace import cupy

Action = Callable[[], None]


class _Capture(threading.local):
    actions: list[Action] | None = None  # of the capture under way in this thread
    allocate: Any = None  # what gave memory before it


_capture = _Capture()


@contextmanager
def capture() -> Iterator[list[Action]]:
    """Within it this thread captures a graph; gives the list of what is to be done before each launch."""
    actions: list[Action] = []
    xp: Any = cupy()
    _capture.actions, _capture.allocate = actions, xp.cuda.get_allocator()
    try:
        yield actions
    finally:
        _capture.actions = None


def capturing() -> bool:
    """Whether what runs on the host now is not run again with each launch."""
    return _capture.actions is not None


def outside() -> AbstractContextManager[None]:
    """Within it memory is none of the graph's, as what is written before a launch needs.

    In the graph's own other kernels of it may have written before, and every launch repeats them.
    """
    xp: Any = cupy()
    return xp.cuda.using_allocator(_capture.allocate)


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
    with outside():
        there = xp.ndarray(table.shape, table.dtype)

    def renew() -> None:
        fill()
        there[...] = xp.asarray(table)  # this reads `table` at once; `set` may do so when the device comes to it

    before_launch(renew)
    return there
