"""What the constructors of layers accept, and how a layer shows it."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from ..functional import Input
from ..parameter import Parameter
from ..tensor import Tensor, as_tensor

Pair = int | Sequence[int]


def positive(name: str, value: Any) -> int:
    """`value` as a Python int; ValueError or TypeError, in the words of `name`, if it is no positive integer."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; a positive integer is needed") from None
    if number < 1:
        raise ValueError(f"{name} is {value!r}; a positive integer is needed")
    return number


def pair(name: str, value: Pair) -> tuple[int, int]:
    """(height, width) from a positive integer or a pair of them; ValueError or TypeError as `positive`."""
    sizes = value if isinstance(value, Sequence) else (value, value)
    if len(sizes) != 2:
        raise ValueError(f"{name} is {value!r}; an integer or a pair (height, width) is needed")
    return positive(name, sizes[0]), positive(name, sizes[1])


def shown(*always: Any, values: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """The arguments in a layer's repr: those `always` there, then the `values` that are not the `usual` ones."""
    words = [f"{key}={value}" for key, value in values.items() if key not in usual or value != usual[key]]
    return ", ".join([*map(str, always), *words])


def checked(layer: Any, x: Input, channels: int, axes: Mapping[int, str], weight: Parameter | None) -> Tensor:
    """`x` as a tensor; ValueError unless it has one of the numbers of `axes`, and as many channels, TypeError unless it
    has weight's dtype and device.

    axes: number of axes -> their names, of which that of the channels is C.
    """
    x = as_tensor(x)
    names = axes.get(x.ndim, "").split()
    if not names or x.shape[names.index("C")] != channels:
        allowed = " or ".join(" x ".join(str(channels) if n == "C" else n for n in a.split()) for a in axes.values())
        raise ValueError(f"{layer!r}: the input has shape {x.shape}; {allowed} is needed")
    of_one_kind(layer, x, weight)
    return x


def of_one_kind(layer: Any, x: Tensor, weight: Parameter | None) -> None:
    """TypeError unless `x` has the dtype of the layer's weight, and lies where that does."""
    if weight is not None and x.device != weight.device:
        raise TypeError(f"{layer!r}: the input lies on {x.device}, weight and bias on {weight.device}; move one by .to")
    if weight is not None and x.dtype != weight.dtype:
        raise TypeError(f"{layer!r}: the input is {x.dtype}, weight and bias are {weight.dtype}; convert one")
