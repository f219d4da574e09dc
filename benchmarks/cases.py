"""Kinds of cases, and the calls of operators that they stand for; shapes.py lists them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from upconv import kernels
from upconv.kernels.case import Cost
from upconv.kernels.explanation import Explanation

from .calls import draw, forward_of, function, parameters

TOLERANCE = 1e-4  # of the largest number: float32 against float64
LR, MOMENTUM = 1e-3, 0.9  # of the training steps
CONVOLUTION = ("conv2d", "conv2d_input", "conv2d_weight")
TRANSPOSED = ("conv_transpose2d", "conv_transpose2d_input", "conv_transpose2d_weight")


@dataclass(frozen=True)
class Layer:
    """n maps of c channels, size pixels (height, width; or one number), under k filters, kernel x kernel, with a bias.

    A convolution is padded by dilation (kernel // 2), which keeps the size at stride 1; a transposed one is not.
    padding: another. groups: of c / groups channels and k / groups filters.
    """

    n: int
    c: int
    k: int
    size: int | tuple[int, int]
    kernel: int
    stride: int = 1
    dilation: int = 1
    transposed: bool = False
    padding: int | None = None
    groups: int = 1

    @property
    def plane(self) -> tuple[int, int]:
        """Height and width."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def label(self) -> str:
        """The row's name in a table."""
        h, w = self.plane
        words = [f"{self.n} x {self.c} -> {self.k}", f"{h} x {w}", f"{self.kernel} x {self.kernel}"]
        words += [
            f"{name} {getattr(self, name)}" for name in ("stride", "dilation", "groups") if getattr(self, name) > 1
        ]
        words += [] if self.padding is None else [f"padding {self.padding}"]
        return ", ".join(words)

    @property
    def operators(self) -> tuple[str, ...]:
        """The layer itself and its gradients."""
        return TRANSPOSED if self.transposed else CONVOLUTION

    def arguments(self, operator: str) -> dict[str, Any]:
        """What the layer is called with, whatever is to be drawn besides."""
        rng = np.random.default_rng(0)
        channels = (self.c, self.k // self.groups) if self.transposed else (self.k, self.c // self.groups)
        usual = 0 if self.transposed else self.kernel // 2 * self.dilation
        return {
            "x": rng.standard_normal((self.n, self.c, *self.plane), np.float32),
            "weight": rng.standard_normal((*channels, self.kernel, self.kernel), np.float32),
            "bias": rng.standard_normal(self.k, np.float32),
            "stride": self.stride,
            "padding": usual if self.padding is None else self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def small(self) -> Layer:
        """The same geometry in next to no time."""
        groups = min(self.groups, 3)
        c, k = ((groups * min(each // self.groups, most)) for each, most in ((self.c, 5), (self.k, 6)))
        return replace(self, n=min(self.n, 2), c=c, k=k, size=12, groups=groups)


@dataclass(frozen=True)
class Maps:
    """Maps (n, c, h, w) under operators that are bound by memory, with some options."""

    shape: tuple[int, int, int, int]
    operators: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def label(self) -> str:
        """The row's name in a table."""
        n, c, h, w = self.shape
        return ", ".join([f"{n} x {c}", f"{h} x {w}", *(f"{name} {value}" for name, value in self.options.items())])

    def arguments(self, operator: str) -> dict[str, Any]:
        """What the operator is called with, whatever is to be drawn besides."""
        names, rng = {**parameters(forward_of(operator) or operator)}, np.random.default_rng(0)
        given = {name: value for name, value in self.options.items() if name in names}

        def numbers(n: int, c: int, h: int, w: int) -> np.ndarray:
            return kernels.channels_last(rng.standard_normal((n, c, h, w), np.float32))

        n, c, h, w = self.shape
        if "indices" in names:  # where a pooling found them
            pooled = kernels.max_pool2d(numbers(n, c, 2 * h, 2 * w), 2, return_indices=True)
            return given | dict(zip(("x", "indices"), pooled, strict=True))
        if "xs" in names:
            return given | {"xs": [numbers(n, c // 2, h, w), numbers(n, c - c // 2, h, w)]}
        return given

    def small(self) -> Maps:
        """The same in next to no time."""
        return replace(self, shape=(2, min(self.shape[1], 5), 12, 12))


@dataclass(frozen=True)
class Network:
    """A U-Net of one input channel and two classes, on a batch of size x size images; padded, or as in the paper."""

    width: int
    depth: int
    batch: int
    size: int
    padded: bool = True

    @property
    def label(self) -> str:
        """The row's name in a table."""
        form = "" if self.padded else ", unpadded"
        return f"U-Net, width {self.width}, depth {self.depth}{form}; {self.batch} x {self.size} x {self.size}"

    def small(self) -> Network:
        """The same in next to no time."""
        return replace(self, width=2, depth=2, batch=1, size=16 if self.padded else 44)


@dataclass
class Call:
    """One call of an operator, its arguments by name and at hand: random, float32, channels-last.

    forward: those of the operator whose gradient it is.
    """

    operator: str
    label: str
    arguments: dict[str, Any]
    forward: dict[str, Any]

    def __call__(self, **more: Any) -> Any:
        """Make it."""
        return function(self.operator)(**self.arguments | more)

    @property
    def constant(self) -> Call:
        """Itself, the weight of a forward pass packed: peers that compile a graph keep theirs rearranged too."""
        if self.operator not in (CONVOLUTION[0], TRANSPOSED[0]):
            return self
        return replace(self, arguments={**self.arguments, "weight": kernels.pack(self.arguments["weight"])})

    @property
    def explanation(self) -> Explanation:
        """What runs, and the FLOPs and bytes it takes at least."""
        return kernels.explain(function(self.operator), **self.arguments)

    @property
    def cost(self) -> Cost:
        """The FLOPs and bytes it takes at least."""
        return self.explanation.cost

    @cached_property
    def exact(self) -> np.ndarray:
        """The call's first result, computed in float64, where convolutions are plain sums."""
        return first(function(self.operator)(**{name: _double(value) for name, value in self.arguments.items()}))

    def check(self, result: Any, whose: str = "upconv", tolerance: float = TOLERANCE) -> float:
        """The largest error of a result, or of the first of several, over the largest of the exact numbers.

        Raises AssertionError where that is above the tolerance, or the shape is another.
        """
        return error(first(result), self.exact, f"{self.operator} of {self.label} by {whose}", tolerance)


def first(result: Any) -> np.ndarray:
    """The first of several results, or the only one, as an array."""
    return np.asarray(result[0] if isinstance(result, (tuple, list)) else result)


def error(result: np.ndarray, exact: np.ndarray, what: str, tolerance: float = TOLERANCE) -> float:
    """max |result - exact| / max |exact|. Raises AssertionError, beginning with `what`, where the result is wrong."""
    if result.shape != exact.shape:
        raise AssertionError(f"{what} has shape {result.shape}, not {exact.shape}")
    largest, wrong = float(np.abs(exact).max()), float(np.abs(result - exact).max())
    if not wrong <= tolerance * largest:  # NaN fails too
        raise AssertionError(f"{what} is wrong by {wrong:.2g}, largest {largest:.2g}")
    return wrong / largest if largest else 0.0


def calls(cases: Sequence[Layer | Maps], operators: Sequence[str], *, small: bool = False) -> Iterator[Call]:
    """Every one of the `operators` on every case that knows it; `small` where only the code is tried."""
    for case in cases:
        for operator in case.operators:
            if operator in operators:
                yield call(case.small() if small else case, operator)


def call(case: Layer | Maps, operator: str) -> Call:
    """`operator` on this case; always the same numbers."""
    shape = case.shape if isinstance(case, Maps) else None

    rng = np.random.default_rng(1)

    def drawn(name: str, given: dict[str, Any]) -> dict[str, Any]:
        arguments = draw(name, rng, shape=shape, plain=True, **given)
        return {
            key: _channels_last(value)
            for key, value in arguments.items()
            if key not in ("algorithm", "out", "precision")
        }

    forward = drawn(forward_of(operator) or operator, case.arguments(operator))
    return Call(operator, case.label, drawn(operator, forward) if forward_of(operator) else forward, forward)


def _channels_last(value: Any) -> Any:
    if isinstance(value, list):
        return [_channels_last(each) for each in value]
    return kernels.channels_last(value) if isinstance(value, np.ndarray) and value.ndim == 4 else value


def _double(value: Any) -> Any:
    if isinstance(value, list):
        return [_double(each) for each in value]
    return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype == np.float32 else value
