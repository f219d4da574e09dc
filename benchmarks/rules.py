"""How a value is drawn for each parameter's name: see calls.py."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from upconv import kernels

Pair = tuple[int, int]


def _two(value: Any) -> Any:
    """A pair from a number or a pair."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


class Impossible(ValueError):
    """No valid call has what was given."""


class Rules:
    """The method that bears a parameter's name draws a valid value for it; others begin with an underscore.

    A rule asks for the values that it depends on by `self[name]`, and may look at which other parameters there are.
    """

    def __init__(
        self,
        names: Mapping[str, inspect.Parameter],
        rng: np.random.Generator,
        dtype: Any,
        shape: Sequence[int] | None,
        real: bool,
        plain: bool,
    ) -> None:
        self._names, self._rng, self._dtype, self._real, self._plain = names, rng, np.dtype(dtype), real, plain
        self._given_shape = None if shape is None else tuple(shape)
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The value of a parameter, drawn when it is first asked for."""
        if name not in self._values:
            self._values[name] = self._drawn(name)
        return self._values[name]

    def _drawn(self, name: str) -> Any:
        return getattr(self, name)()

    # chances

    def _one(self, *values: Any) -> Any:
        if not values:
            raise Impossible("there is nothing to choose from")
        return values[self._rng.integers(len(values))]

    def _between(self, low: int, high: int) -> int:
        if low > high:
            raise Impossible(f"nothing lies between {low} and {high}")
        return int(self._rng.integers(low, high + 1))

    def _pair(self, low: int, high: int) -> Any:
        return self._one(self._between(low, high), (self._between(low, high), self._between(low, high)))

    def _numbers(self, shape: Sequence[int]) -> np.ndarray:
        if self._real:
            return self._rng.standard_normal(shape).astype(self._dtype)
        return self._rng.integers(-4, 5, shape).astype(self._dtype)

    def _positive(self, *shape: int) -> np.ndarray:
        return (0.5 + self._rng.random(shape)).astype(self._dtype)

    # sizes

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        """(N, C, H, W) of the operator's input."""
        if self._given_shape is not None:
            return self._given_shape
        if self._plain:
            return 2, 40, 12, 12
        channels = self._between(1, 5) if self._rng.random() < 0.7 else self._one(8, 15, 16, 17, 33)
        if "groups" in self._names and self["groups"] > 1:
            channels = self["groups"] * self._between(1, 4)
        rows, columns = (self._least(axis) + self._between(0, self._one(3, 9)) for axis in (0, 1))
        images = 0 if self._rng.random() < 0.02 and not self._measures else self._between(1, 3)
        return images, channels, rows, columns

    @property
    def _channels(self) -> int:
        if len(self._shape) < 2:
            raise Impossible(f"the shape {self._shape} has no channels")
        return self._shape[1]

    @property
    def _last(self) -> int:
        if not self._shape:
            raise Impossible("the shape () has no last axis")
        return self._shape[-1]

    def _least(self, axis: int) -> int:
        """Pixels that the input must have."""
        if self._measures:
            return 2
        if "padding" not in self._names:
            return 1
        extent, sides = self._extent[axis], sum(self._sides[axis])
        if self._enlarges:
            return 2 if sides >= extent else 1
        if "kernel_size" in self._names and self._dilation[axis] > 1:
            return extent  # then each window meets the map
        return max(1, extent - sides)

    @property
    def _measures(self) -> bool:
        """Whether it needs several numbers to find their mean and variance."""
        return "eps" in self._names and "mean" not in self._names

    @property
    def _enlarges(self) -> bool:
        """Whether the windows lie on the result, not on the input."""
        return "output_size" in self._names

    @cached_property
    def _kernel(self) -> Pair:
        if "kernel_size" in self._names:
            return _two(self["kernel_size"])
        if "weight" in self._values:
            return self["weight"].shape[2:]
        return (3, 3) if self._plain else _two(self._pair(1, 4))

    @property
    def _stride(self) -> Pair:
        return self._kernel if self["stride"] is None else _two(self["stride"])

    @property
    def _dilation(self) -> Pair:
        return _two(self["dilation"]) if "dilation" in self._names else (1, 1)

    @property
    def _extent(self) -> Pair:
        (kh, kw), (dh, dw) = self._kernel, self._dilation
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1

    @property
    def _sides(self) -> tuple[Pair, Pair]:
        """((top, bottom), (left, right)); as much as "same" may mean."""
        if self["padding"] == "same":
            return (0, self._extent[0] - 1), (0, self._extent[1] - 1)
        rows, columns = (0, 0) if self["padding"] == "valid" else _two(self["padding"])
        return _two(rows), _two(columns)

    @property
    def _enlarged(self) -> Pair:
        """The size of the result of what enlarges, by its window alone."""
        (h, w), (sh, sw), (eh, ew) = self._shape[2:], self._stride, self._extent
        return (h - 1) * sh - sum(self._sides[0]) + eh, (w - 1) * sw - sum(self._sides[1]) + ew

    @property
    def _spare(self) -> Pair:
        """By how many pixels less than this a transposed convolution's result may be larger than that."""
        return max(self._stride[0], self._dilation[0]), max(self._stride[1], self._dilation[1])

    @property
    def _filters(self) -> int:
        """How many numbers a bias has."""
        if "eps" in self._names:
            return self._channels
        return self["weight"].shape[1] * self["groups"] if self._enlarges else self["weight"].shape[0]

    # maps

    def x(self) -> np.ndarray:
        return self._numbers(self._shape)

    def logits(self) -> np.ndarray:
        return self._numbers(self._shape)

    def log_probabilities(self) -> np.ndarray:
        if len(self._shape) < 2 or not self._shape[1]:
            raise Impossible(f"the shape {self._shape} has no classes")
        logits = self._numbers(self._shape)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def y(self) -> np.ndarray:
        return self._numbers(self._shape)

    def grad(self) -> np.ndarray:
        return self._numbers(self._shape)

    def target(self) -> np.ndarray:
        values = self._rng.random(self._shape) if self._real else self._rng.integers(0, 2, self._shape)
        return values.astype(self._dtype)

    def xs(self) -> list[np.ndarray]:
        c, n, *size = self._channels, self._shape[0], *self._shape[2:]
        others = [self._between(0, 5) for _ in range(self._between(0, 3))]
        return [self._numbers((n, channels, *size)) for channels in (c, *others)]

    def input_shape(self) -> tuple[int, ...]:
        return self._shape

    # integers for each pixel

    def labels(self) -> np.ndarray:
        k, n, *size = self._channels, self._shape[0], *self._shape[2:]
        labels = self._rng.integers(0, max(1, k), (n, *size))
        return np.where(self._rng.random(labels.shape) < (0.2 if k else 1), self["ignore_index"], labels)

    def indices(self) -> np.ndarray:
        rows, columns = self._enlarged if self["output_size"] is None else _two(self["output_size"])
        if min(rows, columns) < 1:
            raise Impossible("the result has no pixels")
        return self._rng.integers(0, rows * columns, self._shape)

    def offsets(self) -> np.ndarray:
        window = {name: self[name] for name in ("kernel_size", "stride", "padding", "dilation", "ceil_mode")}
        return kernels.max_pool2d_offsets(self._numbers(self._shape), **window)[1]

    # numbers for each channel or filter

    def weight(self) -> np.ndarray:
        if "target" in self._names:  # of each number
            return self._positive(*self._shape)
        if "labels" in self._names or "eps" in self._names:  # of each class or channel
            return self._positive(self._channels)
        if "stride" not in self._names:  # of a fully connected layer
            return self._numbers((self._between(1, 9), self._last))
        groups, channels = self["groups"], self._channels
        filters = 33 if self._plain else self._between(1, 5) if groups > 1 else self._one(1, 2, 3, 5, 16, 17, 33)
        shape = (channels, filters) if self._enlarges else (groups * filters, channels // groups)
        return self._numbers((*shape, *self._kernel))

    def bias(self) -> np.ndarray:
        return self._numbers((self._filters,))

    def mean(self) -> np.ndarray:
        return self._numbers((self._channels,))

    def variance(self) -> np.ndarray:
        return self._positive(self._channels)

    def pos_weight(self) -> np.ndarray:
        return self._positive(self._channels, *(1 for _ in self._shape[2:]))

    # windows

    def kernel_size(self) -> Any:
        return 2 if self._plain else self._pair(1, 4)

    def stride(self) -> Any:
        return self._pair(1, 4)

    def dilation(self) -> Any:
        return self._pair(1, 3)

    def groups(self) -> int:
        if self._given_shape is None:
            return self._between(1, 3)
        channels = self._channels
        return self._one(*(groups for groups in (1, 2, 3, max(1, channels)) if channels % groups == 0))

    def padding(self) -> Any:
        convolves = "weight" in self._names and not self._enlarges
        rows, columns = self._extent
        if not convolves:  # half of a window at most
            rows, columns = rows // 2 + 1, columns // 2 + 1
        vertical, horizontal = ((self._between(0, each - 1), self._between(0, each - 1)) for each in (rows, columns))
        words = ("same", "valid") if convolves else ()
        both = vertical[0], horizontal[0]
        return self._one(*words, min(both), both, (vertical, horizontal))

    def ceil_mode(self) -> bool:
        return self._one(False, True)

    def count_include_pad(self) -> bool:
        return self._one(False, True)

    def divisor_override(self) -> int:
        return self._between(1, 6)

    def return_indices(self) -> bool:
        return self._one(False, True)

    def output_padding(self) -> Pair:
        return self._between(0, self._spare[0] - 1), self._between(0, self._spare[1] - 1)

    def output_size(self) -> Pair:
        if "indices" not in self._names:  # a transposed convolution
            (h, w), extra = self._enlarged, self.output_padding()
            return h + extra[0], w + extra[1]
        (h, w), (sh, sw) = self._enlarged, self._stride
        return self._between(max(1, h - sh + 1), h + sh - 1), self._between(max(1, w - sw + 1), w + sw - 1)

    # resampling

    def size(self) -> Any:
        return None if self._plain or self._rng.random() < 0.5 else self._pair(1, 12)

    def scale_factor(self) -> Any:
        if self["size"] is not None:
            return None
        factors = [f for f in (0.3, 0.5, 1.0, 1.7, 2, 3, 2.5) if f * min(self._shape[2:]) >= 1]
        return 2 if self._plain else self._one(self._one(*factors), (self._one(*factors), self._one(*factors)))

    def mode(self) -> str:
        return self._one("nearest", "bilinear", "bicubic")

    def align_corners(self) -> bool:
        return self["mode"] != "nearest" and self._one(False, True)

    # the rest

    def precision(self) -> str | None:
        return self._one(None, "fp32", "tf32")

    def activation(self) -> str | None:
        return self._one(None, "relu")

    def ignore_index(self) -> int:
        return self._one(-100, -1, 0, 255)

    def reduction(self) -> str:
        return self._one("mean", "sum")

    def negative_slope(self) -> float:
        return self._one(0.01, 0.2, 1.0, 0.0)

    def p(self) -> float:
        return self._one(0.5, 0.1, 0.9, 0.0, 1.0)

    def seed(self) -> int:
        return self._between(0, 2**32)

    def eps(self) -> float:
        return self._one(1e-5, 1e-3)

    def squared(self) -> bool:
        return self._one(False, True)

    def smooth(self) -> float:
        return self._one(1.0, 0.5)
