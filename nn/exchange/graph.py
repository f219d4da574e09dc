"""An ONNX graph while it is being made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..._extras import require
from ..tensor import Array
from .trace import Run, Shape, Unlike, Value

END = np.iinfo(np.int64).max  # of a slice: the end of the axis


class Graph:
    """Nodes, and the constants that they read: weights, under their names in the state, and others."""

    def __init__(self, run: Run, weights: Mapping[str, Array]) -> None:
        """Start empty. run: what is exported; weights: those that nodes may read."""
        self._helper = require("onnx.helper", extra="onnx")
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.dtype = next((each.dtype for each in weights.values() if each.dtype.kind == "f"), np.dtype(np.float32))
        self.distinct: set[str] = set()  # indices of windows that do not overlap
        self._weights = weights
        self._names: dict[str, str] = {}  # of values that have another name here
        self._maps = [run.input] if len(run.input.shape) == 4 else []

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node of an ONNX operator; "" is an input left out. Returns the name of its output, or their names."""
        names = [f"/{len(self.nodes)}/{operator}" + f"/{i}" * bool(i) for i in range(outputs)]
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        self.nodes.append(self._helper.make_node(operator, inputs, names, name=names[0], **attributes))
        return names[0] if outputs == 1 else tuple(names)

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """The name of a constant of these numbers."""
        array = np.array(value, dtype, order="C")
        for name, known in self.constants.items():
            same = name.startswith("/") and (known.dtype, known.shape) == (array.dtype, array.shape)
            if same and known.tobytes() == array.tobytes():
                return name
        name = f"/constant/{len(self.constants)}"
        self.constants[name] = array
        return name

    def tensor(self, value: Any, dtype: Any) -> Any:
        """One number, as the attributes of nodes have it."""
        return require("onnx.numpy_helper", extra="onnx").from_array(np.array([value], dtype))

    def name(self, value: Any) -> str:
        """What a value, a weight or an array is called here; "" for None."""
        if value is None:
            return ""
        if not isinstance(value, Value):
            return self.constant(value, value.dtype)
        if value.name in self._weights:
            self.constants.setdefault(value.name, self._weights[value.name])
        return self._names.get(value.name, value.name)

    def call(self, value: Value, name: str) -> None:
        """Let a result be known by the name that its node gave it."""
        self._names[value.name] = name
        if len(value.shape) == 4:
            self._maps.append(value)

    # shapes, which are arrays of int64 here

    def shape(self, value: Value, start: int, end: int = END) -> str:
        """The lengths of the axes of a value from `start` to `end`."""
        lengths = self.add("Shape", self.name(value))
        return self.add("Slice", lengths, self.constant([start]), self.constant([end]))

    def plane(self, planes: Sequence[Shape], like: Value, stride: Sequence[int] = (1, 1)) -> str:
        """A height and a width that are `planes` in the runs: constant, those of an earlier map, or of `like` times the
        stride and some more.

        Raises Unlike where they are none of these.
        """
        if len({*planes}) == 1:
            return self.constant(planes[0])
        for value in self._maps:
            if value.planes == tuple(planes):
                return self.shape(value, 2)
        steps = np.array(stride)
        more = {tuple(np.array(plane) - steps * before) for plane, before in zip(planes, like.planes, strict=True)}
        if len(more) > 1:
            raise Unlike("a size follows from the input's by a rule that cannot be seen")
        scaled = self.add("Mul", self.shape(like, 2), self.constant(steps))
        return self.add("Add", scaled, self.constant(more.pop()))

    def reshape(self, x: Value, shapes: Sequence[Shape]) -> str:
        """The numbers of `x` in `shapes`, one for each run; Unlike if two lengths follow no rule that can be seen."""
        lengths, before = list(zip(*shapes, strict=True)), list(zip(*x.shapes, strict=True))
        varying = [each for each in lengths if len({*each}) > 1]
        if len(varying) <= 1:
            target = self.constant([-1 if each in varying else each[0] for each in lengths])
            return self.add("Reshape", self.name(x), target)
        if len([each for each in varying if each not in before]) > 1:
            raise Unlike("a shape follows from the input's by a rule that cannot be seen")
        parts = [
            self.constant([each[0] if each not in varying else -1])
            if each not in varying or each not in before
            else self.shape(x, before.index(each), before.index(each) + 1)
            for each in lengths
        ]
        return self.add("Reshape", self.name(x), self.add("Concat", *parts, axis=0))
