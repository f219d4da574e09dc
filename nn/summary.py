"""What a network is made of: its layers, in the order in which they run, with their sizes and costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from ..kernels.sharing import may_share_memory
from .device import home, moved
from .layers import (
    AvgPool2d,
    ConvTranspose2d,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    MaxUnpool2d,
    Unpool2d,
    Upsample,
)
from .layers.arguments import pair
from .layers.convolution import Convolution
from .modes import enable_grad
from .module import Module, evaluating
from .parameter import Parameter
from .tape import Node
from .tensor import Tensor

Field = tuple[Fraction, Fraction, Fraction, Fraction]  # what a pixel sees, and how far pixels are apart: h, w, h, w
REACH = {"nearest": 0, "bilinear": 1, "bicubic": 3}  # how many pixels beyond the first an interpolated one reads


@dataclass(frozen=True)
class Row:
    """One run of one layer; parameters are counted where they first appear."""

    name: str
    layer: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int
    receptive_field: tuple[int, int]


@dataclass(frozen=True)
class Summary:
    """The layers of a network, and their sums; print it."""

    rows: list[Row] = field(repr=False)
    parameters: int
    trainable: int
    macs: int
    activation_bytes: int
    receptive_field: tuple[int, int]

    def __str__(self) -> str:
        """A table, a line for each layer, and the sums."""
        head = ["layer", "", "output", "parameters", "MACs", "bytes", "sees"]
        lines = [head] + [
            [row.name, row.layer, _by(row.output_shape)]
            + [f"{number:,}" for number in (row.parameters, row.macs, row.activation_bytes)]
            + [_by(row.receptive_field)]
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join([*map(str.ljust, line[:3], widths), *map(str.rjust, line[3:], widths[3:])]) for line in lines
        ]
        return "\n".join([*table, "", self._sums()])

    def _sums(self) -> str:
        frozen = self.parameters - self.trainable
        return (
            f"{self.parameters:,} parameters ({frozen:,} frozen), {self.macs:,} MACs,"
            f" {self.activation_bytes:,} bytes of activations, receptive field {_by(self.receptive_field)}"
        )


def summary(model: Module, input_shape: Sequence[int]) -> Summary:
    """The layers that run for an input of this shape, N C H W, with what each gives and costs; it prints as a table.

    Of each layer: the shape of its result; its parameters; MACs, the multiplications of convolutions and fully
    connected layers; activation bytes, what its result takes in memory (a view takes nothing); the receptive field, how
    many rows and columns of the input a pixel of the result depends on: sums of (kernel - 1) times the distance of
    pixels, whatever lies beyond the border counted too (Araujo, Norris & Sim 2019, "Computing receptive fields of
    convolutional neural networks"). After an enlargement that distance is a fraction, and a pixel may see one pixel
    of the coarse map more than the sum says.

    The model runs once, in evaluation mode, on zeros of its dtype; it is left as it was. Seen are modules without
    modules inside: a ReLU that runs as part of a convolution has no line, nor has a function called by itself. Not for
    several threads at once. Raises what the model raises for such an input.

    >>> from upconv import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 4, 3))
    >>> print(nn.summary(model, (1, 1, 12, 12)))
    layer             output           parameters   MACs  bytes   sees
    0      Conv2d     1 x 2 x 10 x 10          20  1,800    800  3 x 3
    2      MaxPool2d  1 x 2 x 5 x 5             0      0    200  4 x 4
    3      Conv2d     1 x 4 x 3 x 3            76    648    144  8 x 8
    <BLANKLINE>
    96 parameters (0 frozen), 2,448 MACs, 1,144 bytes of activations, receptive field 8 x 8
    """
    dtype = next((parameter.dtype for parameter in model.parameters()), np.dtype(np.float32))
    x = Tensor(moved(np.zeros(tuple(input_shape), dtype), home(model)), requires_grad=True)
    fields: dict[Node | Tensor, Field] = {x: (Fraction(1),) * 4}
    rows: list[Row] = []
    counted: set[Parameter] = set()

    def note(name: str, layer: Module, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        seen = _through(layer, inputs[0], outputs[0], _field(inputs[0], fields))
        for each in outputs:
            fields[each._node or each] = seen
        own = {value for value in vars(layer).values() if isinstance(value, Parameter)} - counted
        counted.update(own)
        rows.append(
            Row(
                name,
                type(layer).__name__,
                outputs[0].shape,
                sum(each.size for each in own),
                _macs(layer, inputs[0], outputs[0]),
                sum(each.data.nbytes for each in outputs if not may_share_memory(each.data, inputs[0].data)),
                (math.ceil(seen[0]), math.ceil(seen[1])),
            )
        )

    with enable_grad(), evaluating(model), _watched(model, note):
        y = model(x)
    last = _field(y, fields) if isinstance(y, Tensor) else next(reversed(fields.values()))
    parameters = list(model.parameters())
    return Summary(
        rows,
        sum(each.size for each in parameters),
        sum(each.size for each in parameters if each.requires_grad),
        sum(row.macs for row in rows),
        sum(row.activation_bytes for row in rows),
        (math.ceil(last[0]), math.ceil(last[1])),
    )


@contextmanager
def _watched(model: Module, note: Callable[[str, Module, list[Tensor], list[Tensor]], None]) -> Iterator[None]:
    """Within it every run of a module without modules inside is noted, after it."""
    watched: list[Module] = []

    def watch(name: str, layer: Module) -> None:
        forward = layer.forward

        def noting(*args: Any, **kwargs: Any) -> Any:
            result = forward(*args, **kwargs)
            inputs, outputs = ([each for each in given if isinstance(each, Tensor)] for given in (args, _tuple(result)))
            if inputs and outputs:
                note(name, layer, inputs, outputs)
            return result

        vars(layer)["forward"] = noting  # found before the class's own
        watched.append(layer)

    try:
        for name, module in model.named_modules():
            if "forward" not in vars(module) and not any(module.named_children()):
                watch(name, module)
        yield
    finally:
        for layer in watched:
            del vars(layer)["forward"]


def _field(tensor: Tensor, fields: dict[Node | Tensor, Field]) -> Field:
    """The largest field among the noted results that `tensor` was computed from."""
    stack: list[Node | Tensor | None] = [tensor._node or tensor]
    found, seen = [], set()
    while stack:
        place = stack.pop()
        if place is None or place in seen:
            continue
        seen.add(place)
        if place in fields:
            found.append(fields[place])
        elif isinstance(place, Node):
            stack.extend(place.sources)
    return max(found, default=(Fraction(1),) * 4)


def _through(layer: Module, x: Tensor, y: Tensor, before: Field) -> Field:
    """The field after `layer`."""
    sizes, steps = list(before[:2]), list(before[2:])
    for axis in (0, 1):
        reach, factor = _reach(layer, x.shape, y.shape, axis)
        sizes[axis] += reach * steps[axis]
        steps[axis] *= factor
    return sizes[0], sizes[1], steps[0], steps[1]


def _reach(layer: Any, before: Sequence[int], after: Sequence[int], axis: int) -> tuple[int, Fraction]:
    """How many pixels of its input beyond the first a layer's pixel reads, and by how much their distance changes."""
    if isinstance(layer, Upsample):
        return REACH[layer.options["mode"]], Fraction(before[2 + axis], after[2 + axis])
    if isinstance(layer, (GlobalAvgPool2d, Flatten)) and len(before) == 4:
        return before[2 + axis] - 1, Fraction(0)  # what comes after sees no more, however it is enlarged
    if not isinstance(layer, (Convolution, MaxPool2d, AvgPool2d, MaxUnpool2d, Unpool2d)):
        return 0, Fraction(1)
    window = getattr(layer, "window", {})
    kernel = pair("kernel_size", layer.kernel_size)[axis]
    usual = 1 if isinstance(layer, Convolution) else layer.kernel_size
    stride = pair("stride", usual if window.get("stride") is None else window["stride"])[axis]
    reach = pair("dilation", window.get("dilation", 1))[axis] * (kernel - 1)
    if isinstance(layer, (ConvTranspose2d, MaxUnpool2d, Unpool2d)):
        return reach // stride, Fraction(1, stride)
    return reach, Fraction(stride)


def _macs(layer: Module, x: Tensor, y: Tensor) -> int:
    """One for each product of a weight and a number."""
    if isinstance(layer, (Convolution, Linear)):
        places = x if isinstance(layer, ConvTranspose2d) else y
        return places.size * math.prod(layer.weight.shape[1:])
    return 0


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
