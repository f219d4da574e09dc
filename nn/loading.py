"""Batches of random crops, the next ones made while the network computes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Generic, Self, TypeVar

import numpy as np

from ..settings import Settings
from .augmentation import augmented
from .data import Array, Sample

T = TypeVar("T")
PATIENCE = 0.1  # seconds between looks at whether the other side has gone


class Loader(Generic[T]):
    """The items of an iterator, in its order, drawn by one thread that is at most `ahead` items ahead.

    The one thread draws what a plain loop would draw: results do not depend on timing. What the iterator raises is
    raised where its item would have come, and the end is the end. A context manager: leaving it ends the thread.
    """

    def __init__(self, items: Iterator[T], ahead: int = 2) -> None:
        """Keep the iterator; the thread starts with the `with` block."""
        self._items = items
        self._queue: Queue[tuple[T | None, BaseException | None]] = Queue(ahead)
        self._closed = threading.Event()
        self._end: BaseException | None = None
        self._thread = threading.Thread(target=self._draw, name="upconv loader", daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread, once it has the item that it is drawing."""
        self._closed.set()
        self._thread.join()

    def __iter__(self) -> Self:
        """It is its own iterator."""
        return self

    def __next__(self) -> T:
        """The next item, waited for."""
        while self._end is None:
            try:
                item, self._end = self._queue.get(timeout=PATIENCE)
            except Empty:
                if not self._thread.is_alive() and self._queue.empty():
                    raise RuntimeError("Loader: its thread has ended; use it inside its with block") from None
                continue
            if self._end is None:
                return item  # type: ignore[return-value]  # None only beside an error
        raise self._end

    def _draw(self) -> None:
        while not self._closed.is_set():
            try:
                self._put((next(self._items), None))
            except BaseException as error:
                self._put((None, error))
                return

    def _put(self, entry: tuple[T | None, BaseException | None]) -> None:
        while not self._closed.is_set():
            try:
                return self._queue.put(entry, timeout=PATIENCE)
            except Full:
                continue


def batches(samples: Sequence[Sample], settings: Settings, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Without end (images, labels): batch x C x crop x crop float32 in channels-last memory, batch x crop x crop uint8.

    Each is a crop of a uniformly drawn sample, varied as `augmented` says.
    """
    batch, crop, channels = settings.batch, settings.crop, samples[0].image.shape[2]
    while True:
        images = np.empty((batch, crop, crop, channels), np.float32).transpose(0, 3, 1, 2)
        labels = np.empty((batch, crop, crop), np.uint8)
        for n in range(batch):
            sample = samples[int(rng.integers(len(samples)))]
            images[n], labels[n] = augmented(sample, crop, settings, rng)
        yield images, labels
