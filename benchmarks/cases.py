"""The shapes that are measured, each once, and the calls of operators that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from upconv import kernels
from upconv.kernels.op import OPERATORS

from .calls import draw, forward_of, function, parameters

CONVOLUTION = ("conv2d", "conv2d_input", "conv2d_weight")
TRANSPOSED = ("conv_transpose2d", "conv_transpose2d_input", "conv_transpose2d_weight")


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

    def arguments(self, operator: str) -> dict[str, Any]:
        """What the layer is called with, whatever is to be drawn besides."""
        rng = np.random.default_rng(0)
        channels = (self.c, self.k) if self.transposed else (self.k, self.c)
        return {
            "x": rng.standard_normal((self.n, self.c, self.size, self.size), np.float32),
            "weight": rng.standard_normal((*channels, self.kernel, self.kernel), np.float32),
            "bias": rng.standard_normal(self.k, np.float32),
            "stride": self.stride,
            "padding": 0 if self.transposed else self.kernel // 2 * self.dilation,
            "dilation": self.dilation,
        }

    def small(self) -> Layer:
        """The same geometry in next to no time."""
        return replace(self, n=min(self.n, 2), c=min(self.c, 5), k=min(self.k, 6), size=12)


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
    Layer(1, 64, 64, 64, 4, stride=2, transposed=True),
    Layer(1, 21, 21, 32, 16, stride=8, transposed=True),
    Layer(1, 21, 21, 16, 64, stride=32, transposed=True),
)

LARGE, HALF = (8, 64, 256, 256), (8, 64, 128, 128)  # 128 MiB of float32, more than the caches hold, and a quarter
SCORES, BINARY = (8, 21, 256, 256), (8, 2, 256, 256)
OF_CLASSES = (
    *("softmax", "softmax_input", "log_softmax", "log_softmax_input", "nll_loss", "nll_loss_input"),
    *("cross_entropy", "cross_entropy_input", "dice_loss", "dice_loss_input"),
)
MAX_POOLING, AVERAGING = ("max_pool2d", "max_pool2d_input"), ("avg_pool2d", "avg_pool2d_input")
UNPOOLING = ("max_unpool2d", "max_unpool2d_input", "unpool2d", "unpool2d_input")
RESAMPLING = ("interpolate", "interpolate_input")
OVERLAPPING = {"kernel_size": 3, "stride": 2, "padding": 1}
FULLY_CONNECTED = ("linear", "linear_input", "linear_weight", "linear_bias")
WINDOWED = {*CONVOLUTION, *TRANSPOSED, *MAX_POOLING, *AVERAGING, *UNPOOLING, *RESAMPLING}
APART = {*WINDOWED, *OF_CLASSES, *FULLY_CONNECTED}
OTHERS = tuple(name for name in OPERATORS if name not in APART)
MAPS = (
    Maps(LARGE, OTHERS),
    Maps((1, 1, 65536, 512), FULLY_CONNECTED),
    Maps(SCORES, OF_CLASSES),
    Maps(BINARY, OF_CLASSES),
    Maps(LARGE, (*MAX_POOLING, *AVERAGING), {"kernel_size": 2}),
    Maps(LARGE, MAX_POOLING[:1], {"kernel_size": 2, "return_indices": True}),
    Maps(LARGE, (*MAX_POOLING, *AVERAGING), OVERLAPPING),
    Maps(HALF, UNPOOLING, {"kernel_size": 2}),
    *(Maps(HALF, RESAMPLING, {"scale_factor": 2, "mode": mode}) for mode in ("nearest", "bilinear", "bicubic")),
    *(Maps(LARGE, RESAMPLING, {"scale_factor": 0.5, "mode": mode}) for mode in ("nearest", "bilinear", "bicubic")),
)
NETWORKS = (Network(16, 4, 4, 256), Network(32, 4, 1, 256))


@dataclass(frozen=True)
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
    def cost(self) -> Any:
        """The FLOPs and bytes it takes at least."""
        return kernels.explain(function(self.operator), **self.arguments).cost

    def check(self, expected: Any) -> None:
        """Raise AssertionError where the call's first result is not as expected, rounding apart."""
        result, expected = (each[0] if isinstance(each, tuple) else each for each in (self(), expected))
        if result.shape != expected.shape:
            raise AssertionError(f"{self.operator} of {self.label} has shape {result.shape}, not {expected.shape}")
        error, largest = np.abs(result - expected).max(), np.abs(expected).max()
        if not error <= 1e-4 * largest:
            raise AssertionError(f"{self.operator} of {self.label} is wrong by {error:.2g}, largest {largest:.2g}")


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
        return {key: _channels_last(value) for key, value in arguments.items() if key not in ("algorithm", "out")}

    forward = drawn(forward_of(operator) or operator, case.arguments(operator))
    return Call(operator, case.label, drawn(operator, forward) if forward_of(operator) else forward, forward)


def _channels_last(value: Any) -> Any:
    if isinstance(value, list):
        return [_channels_last(each) for each in value]
    return kernels.channels_last(value) if isinstance(value, np.ndarray) and value.ndim == 4 else value
