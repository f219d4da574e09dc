"""What a model calls, in order: followed at several sizes, to tell what depends on the input and what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.namespace import host, is_array
from ...kernels.window import Pair
from ..modes import watched
from ..module import Module
from ..tensor import Array, Tensor

Shape = tuple[int, ...]
UNUSED = ("algorithm", "out")  # arguments that say how a result is computed, not what it is


class Unlike(ValueError):
    """The model does for one input what it does not for another."""


@dataclass(frozen=True)
class Value:
    """An array in the network: its name, its dtype, and its shape in every run."""

    name: str
    dtype: np.dtype[Any]
    shapes: tuple[Shape, ...]

    @property
    def shape(self) -> Shape:
        """Its shape in the first run."""
        return self.shapes[0]

    @property
    def planes(self) -> tuple[Pair, ...]:
        """Its height and width in every run."""
        return tuple((shape[-2], shape[-1]) for shape in self.shapes)


@dataclass(frozen=True)
class Varying:
    """A number that depends on the input's shape: what it is in every run."""

    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """One call of a function of `nn.functional`, or of an operator of `Tensor`."""

    name: str
    arguments: dict[str, Any]
    results: tuple[Value, ...]


@dataclass(frozen=True)
class Run:
    """All calls from the input to the outputs."""

    input: Value
    calls: tuple[Call, ...]
    outputs: tuple[Value, ...]


def follow(model: Module, images: Array) -> Run:
    """Run `model` on `images` and note what it calls. Its state appears under its names in `state_dict`."""
    names = {id(_array(value)): name for name, value in reversed(state(model).items())}  # the first where shared
    kept: list[Any] = []  # an array that is gone would leave its id to another
    calls: list[Call] = []

    def named(value: Any) -> Any:
        if isinstance(value, Tensor) or is_array(value):
            array = _array(value)
            return Value(names[id(array)], array.dtype, (array.shape,)) if id(array) in names else host(array)
        return tuple(map(named, value)) if isinstance(value, (tuple, list)) else value

    def name(tensor: Tensor, given: str) -> Value:
        kept.append(tensor.data)
        names[id(tensor.data)] = given
        return Value(given, tensor.dtype, (tensor.shape,))

    def note(operator: str, arguments: Mapping[str, Any], result: Any) -> None:
        inputs = {key: named(value) for key, value in arguments.items() if key not in UNUSED}
        results = result if isinstance(result, tuple) else (result,)
        values = [name(each, f"/{len(calls)}/{operator}" + f"/{i}" * bool(i)) for i, each in enumerate(results)]
        calls.append(Call(operator, inputs, tuple(values)))

    start = Tensor(images)
    given = name(start, "input")
    with watched(note):
        y = model(start)
    outputs = named(y if isinstance(y, tuple) else (y,))
    if not all(isinstance(each, Value) for each in outputs):
        raise ValueError(f"{type(model).__name__} gives what no function of upconv.nn computed")
    return Run(given, tuple(calls), outputs)


def state(model: Module) -> dict[str, Any]:
    """Name -> parameter or buffer, the object itself, under every name it has."""
    return {name: getattr(owner, key) for name, owner, key in model._places()}


def merged(runs: Sequence[Run]) -> Run:
    """Several runs as one, in which numbers that differ are `Varying`; Unlike where more differs than numbers."""
    if len({len(run.calls) for run in runs}) > 1:
        raise Unlike("it calls more functions for some inputs than for others")
    calls = []
    for each in zip(*(run.calls for run in runs), strict=True):
        if len({call.name for call in each}) > 1:
            raise Unlike(f"it calls {each[0].name} for some inputs and {each[1].name} for others")
        arguments = [tuple(call.arguments[key] for call in each) for key in each[0].arguments]
        try:
            values = [_merged(parts) for parts in arguments]
        except Unlike as error:
            raise Unlike(f"{each[0].name} is given {error}") from None
        results = _merged([call.results for call in each])
        calls.append(Call(each[0].name, dict(zip(each[0].arguments, values, strict=True)), results))
    return Run(_merged([run.input for run in runs]), tuple(calls), _merged([run.outputs for run in runs]))


def _merged(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if any(type(each) is not type(first) for each in parts):
        raise Unlike("another kind of argument for another input")
    if isinstance(first, Value):
        if any(each.name != first.name for each in parts):
            raise Unlike("what another call gave, for another input")
        return Value(first.name, first.dtype, tuple(each.shapes[0] for each in parts))
    if isinstance(first, np.ndarray):
        if not all(np.array_equal(first, each) for each in parts):
            raise Unlike("numbers that depend on the input and that no function of upconv.nn computed")
        return first
    if isinstance(first, tuple):
        if len({len(each) for each in parts}) > 1:
            raise Unlike("more or fewer arguments for another input")
        return tuple(_merged(each) for each in zip(*parts, strict=True))
    if all(each == first for each in parts):
        return first
    if isinstance(first, int):
        return Varying(tuple(parts))
    raise Unlike("another argument for another input")


def _array(value: Any) -> Array:
    return value.data if isinstance(value, Tensor) else value
