"""The shapes that are measured, each once, and the calls of operators that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from upconv import kernels

CONVOLUTION = ("conv2d", "conv2d_input", "conv2d_weight")
TRANSPOSED = ("conv_transpose2d", "conv_transpose2d_input", "conv_transpose2d_weight")
ON_MAPS = ("max_pool2d", "max_unpool2d", "relu")
OPERATORS = (*CONVOLUTION, *TRANSPOSED, *ON_MAPS)


@dataclass(frozen=True)
class Layer:
    """n maps of c channels, size x size pixels, under k filters, kernel x kernel, with a bias.

    A convolution is padded by dilation (kernel // 2), which keeps the size at stride 1; a transposed one is not.
    """

    n: int
    c: int
    k: int
    size: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    transposed: bool = False

    @property
    def label(self) -> str:
        """The row's name in a table."""
        words = [f"{self.n} x {self.c} -> {self.k}", f"{self.size} x {self.size}", f"{self.kernel} x {self.kernel}"]
        words += [f"{name} {getattr(self, name)}" for name in ("stride", "dilation") if getattr(self, name) > 1]
        return ", ".join(words)

    @property
    def operators(self) -> tuple[str, ...]:
        """The layer itself and its gradients."""
        return TRANSPOSED if self.transposed else CONVOLUTION

    @property
    def window(self) -> dict[str, int]:
        """The options of the operators."""
        padding = 0 if self.transposed else self.kernel // 2 * self.dilation
        return {"stride": self.stride, "padding": padding, "dilation": self.dilation}

    @property
    def output(self) -> int:
        """The height and width of the result."""
        extent = (self.kernel - 1) * self.dilation + 1
        if self.transposed:
            return (self.size - 1) * self.stride + extent
        return (self.size + 2 * self.window["padding"] - extent) // self.stride + 1

    def small(self) -> Layer:
        """The same geometry in next to no time."""
        return replace(self, n=min(self.n, 2), c=min(self.c, 5), k=min(self.k, 6), size=12)


@dataclass(frozen=True)
class Map:
    """n maps of c channels, size x size pixels, that are pooled 2 x 2, unpooled, and so on."""

    n: int
    c: int
    size: int

    operators = ON_MAPS

    @property
    def label(self) -> str:
        """The row's name in a table."""
        return f"{self.n} x {self.c}, {self.size} x {self.size}"

    def small(self) -> Map:
        """The same in next to no time."""
        return replace(self, c=min(self.c, 5), size=12)


@dataclass(frozen=True)
class Network:
    """A padded U-Net of one input channel and two classes, on a batch of size x size images."""

    width: int
    depth: int
    batch: int
    size: int

    @property
    def label(self) -> str:
        """The row's name in a table."""
        return f"U-Net, width {self.width}, depth {self.depth}; {self.batch} x {self.size} x {self.size}"

    def small(self) -> Network:
        """The same in next to no time."""
        return Network(width=2, depth=2, batch=1, size=16)


LAYERS = (
    Layer(1, 3, 64, 256, 3),
    Layer(1, 64, 64, 256, 3),
    Layer(1, 128, 128, 128, 3),
    Layer(1, 256, 256, 64, 3),
    Layer(1, 512, 512, 32, 3),
    Layer(1, 1024, 1024, 16, 3),
    Layer(8, 16, 16, 64, 3),
    Layer(8, 32, 32, 32, 3),
    Layer(1, 64, 64, 256, 3, dilation=2),
    Layer(1, 64, 128, 256, 3, stride=2),
    Layer(1, 64, 32, 256, 1),
)
UPSAMPLING = (
    Layer(1, 128, 64, 128, 2, stride=2, transposed=True),
    Layer(1, 256, 128, 64, 2, stride=2, transposed=True),
    Layer(1, 512, 256, 32, 2, stride=2, transposed=True),
    Layer(1, 21, 21, 64, 4, stride=2, transposed=True),
    Layer(1, 21, 21, 32, 16, stride=8, transposed=True),
    Layer(1, 64, 64, 64, 4, stride=2, transposed=True),
)
MAPS = (Map(1, 64, 256), Map(4, 16, 256))
NETWORKS = (Network(16, 4, 4, 256), Network(32, 4, 1, 256))


@dataclass(frozen=True)
class Call:
    """One call of an operator, its arrays (random, float32, channels-last) at hand."""

    operator: str
    label: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    def __call__(self, **more: Any) -> Any:
        """Make it."""
        return getattr(kernels, self.operator)(*self.arguments, **self.options, **more)

    @property
    def cost(self) -> Any:
        """The FLOPs and bytes it takes at least."""
        return kernels.explain(getattr(kernels, self.operator), *self.arguments, **self.options).cost

    def check(self, expected: np.ndarray) -> None:
        """Raise AssertionError where the call's result is not as expected: rounding is allowed, a lost tap is not."""
        result = self()
        if result.shape != expected.shape:
            raise AssertionError(f"{self.operator} of {self.label} has shape {result.shape}, not {expected.shape}")
        error, largest = np.abs(result - expected).max(), np.abs(expected).max()
        if not error <= 1e-4 * largest:
            raise AssertionError(f"{self.operator} of {self.label} is wrong by {error:.2g}, largest {largest:.2g}")


def calls(cases: Sequence[Layer | Map], operators: Sequence[str], *, small: bool = False) -> Iterator[Call]:
    """Every one of the `operators` on every case that knows it; `small` where only the code is tried."""
    for case in cases:
        for operator in case.operators:
            if operator in operators:
                yield call(case.small() if small else case, operator)


def call(case: Layer | Map, operator: str) -> Call:
    """`operator` on this case; always the same numbers."""
    rng = np.random.default_rng(0)

    def array(*shape: int) -> np.ndarray:
        return kernels.channels_last(rng.standard_normal(shape, np.float32))

    if isinstance(case, Map):
        x = array(case.n, case.c, case.size, case.size)
        given: tuple[Any, ...] = (x,) if operator == "relu" else (x, 2)
        if operator == "max_unpool2d":
            given = (*kernels.max_pool2d(x, 2, return_indices=True), 2)
        return Call(operator, case.label, given, {})
    x, grad = array(case.n, case.c, case.size, case.size), array(case.n, case.k, case.output, case.output)
    first, second = (case.c, case.k) if case.transposed else (case.k, case.c)
    weight, bias = array(first, second, case.kernel, case.kernel), rng.standard_normal(case.k, np.float32)
    if operator.endswith("_input"):
        return Call(operator, case.label, (x.shape, weight, grad), case.window)
    if operator.endswith("_weight"):
        return Call(operator, case.label, (x, weight.shape, grad), case.window)
    return Call(operator, case.label, (x, weight, bias), case.window)
