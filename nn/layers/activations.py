"""Layers that look at one number, or one pixel's channels, at a time."""

from __future__ import annotations

from .. import functional
from ..functional import Input
from ..module import Module
from ..tensor import Tensor


class ReLU(Module):
    """y = max(x, 0)."""

    def forward(self, x: Input) -> Tensor:
        """Any shape."""
        return functional.relu(x)


class LeakyReLU(Module):
    """y = x where x > 0, else negative_slope x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        """As `torch.nn.LeakyReLU`."""
        self.negative_slope = negative_slope

    def forward(self, x: Input) -> Tensor:
        """Any shape."""
        return functional.leaky_relu(x, negative_slope=self.negative_slope)

    def describe(self) -> str:
        """The slope."""
        return str(self.negative_slope)


class Sigmoid(Module):
    """y = 1 / (1 + exp(-x))."""

    def forward(self, x: Input) -> Tensor:
        """Any shape."""
        return functional.sigmoid(x)


class Tanh(Module):
    """y = tanh(x)."""

    def forward(self, x: Input) -> Tensor:
        """Any shape."""
        return functional.tanh(x)


class Softmax(Module):
    """y[n,k,...] = exp x[n,k,...] / sum over l of exp x[n,l,...]: over axis 1, the classes."""

    def forward(self, x: Input) -> Tensor:
        """N K, or N K H W."""
        return functional.softmax(x)
