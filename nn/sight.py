"""How much of an image a score depends on, and the tiles that follow from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .module import Module, evaluating
from .tensor import Array, Tensor, inference_mode
from .views import followed

LARGEST = 1024  # pixels a side of the images on which a network is tried


@dataclass(frozen=True)
class Sight:
    """What a network needs around a score, in pixels of the image; the same for rows and columns.

    A score in row i is decided by the rows from i + first to i + last, and an image moved by `period` has its scores
    moved by as much. The scores lack `margin` rows on each side. The smallest images have `least` rows. bounded: False
    where a score may depend on everything; `first`, `last` and `period` then say nothing.
    """

    takes: Callable[[int], bool]
    least: int
    margin: int
    period: int = 1
    first: int = 0
    last: int = 0
    bounded: bool = True

    def fitted(self, length: int) -> int:
        """The smallest number of rows, `length` or more, that the network takes. ValueError where there is none."""
        start = max(length, self.least)
        for rows in range(start, start + self.period):
            if self.takes(self.least + (rows - self.least) % self.period):
                return rows
        raise ValueError(f"predict: the network takes no image of {start} to {start + self.period - 1} rows")

    def tiles(self, length: int, total: int, tile: int) -> Iterator[tuple[slice, slice, slice]]:
        """(which scores, which rows of the image decide them, where in their scores they lie), one after the other.

        length: how many scores are wanted; total: how many rows there are, a number that the network takes.
        """
        step = -(-tile // self.period) * self.period if self.bounded else length
        for start in range(0, length, step):
            stop = min(start + step, length)
            # One period more on each side: the last pixel of a map before a border may lack what enlargement rounds.
            first = max((start + self.first) // self.period - 1, 0) * self.period
            rows = self.fitted(stop + self.last + self.period - first) if self.bounded else total
            if first + rows >= total:
                first = max(min(first, (total - self.least) // self.period * self.period), 0)
                rows = total - first
            yield slice(start, stop), slice(first, first + rows), slice(start - first, stop - first)


def sight(model: Module, channels: int) -> Sight:
    """What `model` needs around a score of an image with so many channels, from its calls on the smallest images.

    Raises ValueError where it takes no square image of up to 1024 pixels a side, or gives no scores for pixels.
    """
    name, dtype = type(model).__name__, next((each.dtype for each in model.parameters()), np.dtype(np.float32))
    if "classes" not in (getattr(model, "config", None) or {"classes": 0}):
        raise ValueError(f"predict: {name} labels no pixels: it has no classes")
    known: dict[int, tuple[int, ...] | ValueError | IndexError] = {}

    def blank(side: int) -> Array:
        return np.zeros((1, channels, side, side), dtype)

    def shape(side: int) -> tuple[int, ...] | ValueError | IndexError:
        if side not in known:
            with evaluating(model), inference_mode():
                try:
                    known[side] = _shape(model(blank(side)))
                except (ValueError, IndexError) as error:
                    known[side] = error
        return known[side]

    def takes(side: int) -> bool:
        return isinstance(shape(side), tuple)

    least = next(filter(takes, range(1, LARGEST + 1)), None)
    if least is None:
        raise ValueError(f"predict: {name} takes no square images, it seems: {shape(LARGEST)}")
    found = shape(least)
    assert isinstance(found, tuple)
    lost = least - found[-1] if found else 0
    if len(found) != 4 or lost < 0 or lost % 2:
        given = " x ".join(map(str, found))
        raise ValueError(f"predict: {name} labels no pixels: of {least} x {least} pixels it makes {given}")

    def fits(side: int) -> bool:
        made = shape(side)
        return isinstance(made, tuple) and len(made) == 4 and side - made[-1] == lost  # no row is lost to rounding

    whole = Sight(fits, least, lost // 2, bounded=False)
    try:
        views = followed(model, blank(least))
        period = math.lcm(*(view.step.numerator for pair in views for view in pair))
        again = followed(model, blank(least + period))
    except (ValueError, LookupError):  # Unbounded, or it takes one size alone
        return whole
    if again != views:
        return whole
    if any(view.step != 1 for view in views[-1]):
        raise ValueError(f"predict: {name} labels no pixels: its scores are {views[-1][0].step} pixels apart")
    first = math.floor(min(view.first for view in views[-1]))
    last = math.ceil(max(view.last for view in views[-1]))
    return Sight(fits, least, lost // 2, period, first, last)


def _shape(scores: Any) -> tuple[int, ...]:
    return scores.shape if isinstance(scores, Tensor) else ()
