"""One call of an operator in normal form: what a rule returns."""

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from .layout import Array, Shape
from .namespace import is_array, on_device


@dataclass(frozen=True)
class Cost:
    """What a call takes at least: arithmetic operations, and bytes of memory read or written once."""

    flops: int
    bytes: int


@dataclass(frozen=True)
class Output:
    """An array to allocate: its logical shape, its dtype and, for four axes, its memory format.

    final: the shape in which the caller gets it, where that has other axes.
    """

    shape: Shape
    dtype: np.dtype
    format: str = "channels_last"
    final: Shape | None = None

    @property
    def given(self) -> Shape:
        """The shape in which the caller gets it."""
        return self.shape if self.final is None else self.final


@dataclass(frozen=True)
class Case:
    """One call of an operator in normal form."""

    arguments: tuple[Any, ...]
    outputs: tuple[Output, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    maps: tuple[int, ...] = ()  # which arguments are feature maps, to be made channels-last
    flops: int = 0
    algorithm: str = "auto"
    out: Any = None  # the caller's array for the first output
    elementwise: bool = False  # out may be an argument itself
    answer: Array | None = None  # the result, where nothing has to be computed
    precision: str = "fp32"  # the least that float32 products may have (`precision.py`)

    @property
    def device(self) -> str:
        """ "cuda" where the arguments are CuPy arrays, else "cpu"."""
        for each in self.arguments:
            if on_device(each):
                return "cuda"
        return "cpu"

    @property
    def cost(self) -> Cost:
        """The operations, and the bytes of all arrays read and written once."""
        arrays = sum(a.nbytes for a in self.arguments if is_array(a))
        return Cost(self.flops, arrays + sum(prod(o.shape) * o.dtype.itemsize for o in self.outputs))
