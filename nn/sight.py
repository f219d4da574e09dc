"""How much of an image a score depends on, and the tiles that follow from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np

from ..kernels.namespace import is_array
from .device import home, moved, where
from .exchange.trace import follow, merged
from .modes import inference_mode
from .module import Module, evaluating
from .tensor import Array, Tensor
from .views import seen

LARGEST = 1024  # pixels a side of the images on which a network is tried


@dataclass(frozen=True)
class Tiling:
    """The tiles along one axis, in rows, one after the other.

    The network is given the image and, reflected, `margin` rows before it and what else is needed to make `total`.
    Tile i owns own[i] of these rows, and gives scores[i] scores, which begin with its own rows. It is computed from
    `before` more rows where there is a tile before it, and `after` more where there is one after it.
    """

    length: int
    margin: int
    total: int
    own: tuple[int, ...]
    scores: tuple[int, ...]
    before: int
    after: int

    @property
    def pixels(self) -> Array:
        """Which rows of the image the network is given."""
        ends = self.margin, self.total - self.length - self.margin
        return np.pad(np.arange(self.length), ends, mode="reflect")

    def inside(self, i: int) -> slice:
        """Where the scores of tile i lie among those that it is computed with."""
        start = self.before if i else 0
        return slice(start, start + self.scores[i])

    def __iter__(self) -> Iterator[tuple[slice, slice, slice]]:
        """(which scores a tile gives, which of `pixels` it is computed from, where in its scores they lie)."""
        start = 0
        for i, (own, scores) in enumerate(zip(self.own, self.scores, strict=True)):
            needed = slice(max(start - self.before, 0), min(start + own + self.after, self.total))
            yield slice(start, start + scores), needed, self.inside(i)
            start += own


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
    classes: int
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

    def tiling(self, length: int, tile: int) -> Tiling:
        """The tiles that give `length` scores: `tile` each, or as many more as strides and the overlap need.

        The last may be larger by the overlap. Tiles begin where strides meet the same pixels as in the whole image, and
        own at least the rows that their neighbours need of them.
        """
        total = self.fitted(length + 2 * self.margin)
        if not self.bounded:
            return Tiling(length, self.margin, total, (total,), (length,), 0, 0)
        # One period more on each side: the last pixel of a map before a border may lack what enlargement rounds.
        before = max(1 - self.first // self.period, 0) * self.period
        after = self.fitted(before + self.last + self.period) - before
        step = -(-max(tile, self.least, before, after) // self.period) * self.period
        rest = max(before, after, self.least - before)  # what the last tile owns at least
        count = max(min(-(-length // step), (total - rest) // step + 1), 1)
        done = (count - 1) * step
        others = (step,) * (count - 1)
        return Tiling(length, self.margin, total, (*others, total - done), (*others, length - done), before, after)


_known: WeakKeyDictionary[Module, tuple[Any, Sight]] = WeakKeyDictionary()


def sight(model: Module, channels: int) -> Sight:
    """What `model` needs around a score of an image with so many channels, from its calls on the smallest images.

    It is kept for as long as the model is made of the same layers. Raises ValueError where the model takes no square
    image of up to 1024 pixels a side, or gives no scores for pixels.
    """
    made = channels, _made(model)
    before = _known.get(model)
    if before is None or before[0] != made:
        _known[model] = before = made, _looked(model, channels)
    return before[1]


def _made(model: Module) -> list[Any]:
    """All that a model's calls may follow from, but for the values of its arrays."""

    def told(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [told(each) for each in value]
        if isinstance(value, Tensor) or is_array(value):
            return value.shape, value.dtype, where(value.data if isinstance(value, Tensor) else value)
        return type(value) if isinstance(value, Module) else repr(value)

    return [
        (name, type(each), {key: told(value) for key, value in vars(each).items() if key != "training"})
        for name, each in model.named_modules()
    ]


def _looked(model: Module, channels: int) -> Sight:
    """`sight`, anew."""
    name, dtype = type(model).__name__, next((each.dtype for each in model.parameters()), np.dtype(np.float32))
    if "classes" not in (getattr(model, "config", None) or {"classes": 0}):
        raise ValueError(f"predict: {name} labels no pixels: it has no classes")
    numbers = np.random.default_rng(0).standard_normal(997).astype(dtype)
    place = home(model)
    known: dict[int, tuple[int, ...] | ValueError | IndexError] = {}
    owner = ref(model)  # what is kept for a model must not keep the model

    def drawn(side: int) -> Array:
        return moved(np.resize(numbers, (1, channels, side, side)), place)

    def shape(side: int) -> tuple[int, ...] | ValueError | IndexError:
        if side not in known:
            model = owner()
            assert model is not None
            with evaluating(model), inference_mode():
                try:
                    known[side] = _shape(model(drawn(side)))
                except (ValueError, IndexError) as error:
                    known[side] = error.with_traceback(None)
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

    whole = Sight(fits, least, lost // 2, found[1], bounded=False)
    try:
        with evaluating(model):
            run = follow(model, drawn(least))
            views = seen(run)
            period = math.lcm(*(view.step.numerator for pair in views for view in pair))
            again = follow(model, drawn(least + period))
        merged([run, again])  # raises where numbers follow from the image that no function of ours computed
        if seen(again) != views:
            return whole
    except (ValueError, LookupError):  # Unbounded, Unlike, or it takes one size alone
        return whole
    if any(view.step != 1 for view in views[-1]):
        raise ValueError(f"predict: {name} labels no pixels: its scores are {views[-1][0].step} pixels apart")
    first = math.floor(min(view.first for view in views[-1]))
    last = math.ceil(max(view.last for view in views[-1]))
    return Sight(fits, least, lost // 2, found[1], period, first, last)


def _shape(scores: Any) -> tuple[int, ...]:
    return scores.shape if isinstance(scores, Tensor) else ()
