"""What calls do in this thread beside computing: record, tell a watcher, take weights as they were."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ContextDecorator, contextmanager
from typing import Any

import numpy as np

Watcher = Callable[[str, Mapping[str, Any], Any], None]


class _Mode(threading.local):
    recording = True
    inference: inference_mode | None = None
    watcher: Watcher | None = None
    ones: np.ndarray | None = None  # what `backward` began with, where no gradient was given


mode = _Mode()


@contextmanager
def _recording(on: bool) -> Iterator[None]:
    before, mode.recording = mode.recording, on
    try:
        yield
    finally:
        mode.recording = before


class inference_mode(ContextDecorator):
    """Within it nothing is recorded, and weights stand still: as they are when a layer first uses them.

    Without it each call of a layer looks whether its weight has changed since it was rearranged for the kernels, which
    takes 5 % of a small U-Net's time. A change made within it, by anybody, may go unnoticed. One object may serve many
    `with` blocks, in any thread: the weights then stand still through all of them.

    >>> import numpy as np
    >>> from upconv import nn
    >>> layer, still = nn.Conv2d(1, 1, 3), nn.inference_mode()
    >>> for image in np.zeros((3, 1, 1, 8, 8), np.float32):
    ...     with still:
    ...         scores = layer(image)
    """

    def __enter__(self) -> None:
        """Enter it, in this thread."""
        outer = mode.__dict__.setdefault("outer", [])
        outer.append((mode.recording, mode.inference))
        mode.recording, mode.inference = False, self

    def __exit__(self, *error: object) -> None:
        """Go back to what was before."""
        mode.recording, mode.inference = mode.__dict__["outer"].pop()


@contextmanager
def no_grad() -> Iterator[None]:
    """Within it nothing is recorded, in this thread only; `with no_grad():` or, as a decorator, `@no_grad()`."""
    with _recording(False):
        yield


@contextmanager
def enable_grad() -> Iterator[None]:
    """Within it calls are recorded again, in this thread, inside a `no_grad`."""
    with _recording(True):
        yield


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Within it nothing is recorded, and watcher(name, arguments, result) is told of every function this thread calls.

    arguments: those of the operator, by name; of what has no operator its "inputs", and what else makes the result.
    """
    before, mode.watcher = mode.watcher, watcher
    try:
        with no_grad():
            yield
    finally:
        mode.watcher = before


def told(name: str, arguments: Mapping[str, Any], result: Any) -> Any:
    """`result`, a tensor or a tuple of them, of which a watcher, if there is one, has been told."""
    if mode.watcher is not None:
        mode.watcher(name, arguments, result)
    return result


def is_grad_enabled() -> bool:
    """Whether this thread records, that is: is not inside `no_grad`."""
    return mode.recording
