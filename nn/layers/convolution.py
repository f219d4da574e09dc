"""Convolution and its transpose: layers that hold filters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import functional, init
from ..functional import Input
from ..module import Module
from ..parameter import Parameter
from ..tensor import Array, Tensor
from .arguments import Pair, checked, pair, positive, shown


class Convolution(Module):
    """What both convolutions share: weights, their initialisation, and the check of what comes in."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Pair, groups: int, **window: Any) -> None:
        """Check the sizes; window: what the operator takes besides."""
        name = type(self).__name__
        self.in_channels = positive(f"{name}: in_channels", in_channels)
        self.out_channels = positive(f"{name}: out_channels", out_channels)
        self.groups = positive(f"{name}: groups", groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{name}: groups={groups} must divide {in_channels=} and {out_channels=}")
        self.kernel_size = pair(f"{name}: kernel_size", kernel_size)
        self.window = {**window, "groups": groups}

    def _set_weights(self, first: int, second: int, fan_in: float, bias: bool, rng: init.Seed) -> None:
        n, c, h, w = first, second, *self.kernel_size
        weight = np.empty((n, h, w, c), np.float32).transpose(0, 3, 1, 2)  # channels-last, as the kernels read it
        init.he_normal_(weight, fan_in, rng)
        self.weight = Parameter(weight)
        self.bias = Parameter(np.zeros(self.out_channels, np.float32)) if bias else None

    def _checked(self, x: Input) -> Tensor:
        return checked(self, x, self.in_channels, {4: "N C H W", 3: "C H W"}, self.weight)

    def describe(self) -> str:
        """What was given to the constructor and differs from its defaults."""
        usual = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "bias": True}
        values = {"kernel_size": self.kernel_size, **self.window, "bias": self.bias is not None}
        return shown(self.in_channels, self.out_channels, values=values, usual=usual)


class Conv2d(Convolution):
    """y[n,k,i,j] = b[k] + sum over c,u,v of w[k,c,u,v] x[n, c, i s - p + u d, j s - p + v d]; arguments as PyTorch's.

    weight: (out_channels, in_channels / groups, kh, kw), channels-last in memory, drawn as in `init.he_normal_`; bias:
    (out_channels,), zeros, or None. rng: a NumPy Generator or a seed; None draws from the generator of `manual_seed`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Any = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: init.Seed = None,
    ) -> None:
        """Draw the weights; arguments as in `torch.nn.Conv2d`, and rng."""
        window = {"stride": stride, "padding": padding, "dilation": dilation}
        super().__init__(in_channels, out_channels, kernel_size, groups, **window)
        channels = in_channels // groups
        self._set_weights(out_channels, channels, channels * math.prod(self.kernel_size), bias, rng)

    def forward(self, x: Input, *, activation: str | None = None, out: Array | None = None) -> Tensor:
        """N C H W -> N K H' W', or without N; activation="relu" in the same pass, the result in `out` if given."""
        x = self._checked(x)
        return functional.conv2d(x, self.weight, self.bias, **self.window, activation=activation, out=out)


class ConvTranspose2d(Convolution):
    """The transpose of `Conv2d`'s map, a learned upsampling by `stride`; arguments as PyTorch's.

    weight: (in_channels, out_channels / groups, kh, kw), channels-last in memory, drawn from N(0, 2 / fan_in) where
    fan_in = in_channels / groups * kh kw / (sh sw) inputs reach one output; bias and rng as in `Conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Any = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
        *,
        rng: init.Seed = None,
    ) -> None:
        """Draw the weights; arguments as in `torch.nn.ConvTranspose2d`, and rng."""
        window = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
        super().__init__(in_channels, out_channels, kernel_size, groups, **window)
        reach = math.prod(self.kernel_size) / math.prod(pair("ConvTranspose2d: stride", stride))
        self._set_weights(in_channels, out_channels // groups, in_channels // groups * reach, bias, rng)

    def forward(self, x: Input, *, activation: str | None = None, out: Array | None = None) -> Tensor:
        """N C H W -> N K H' W', H' = (H - 1) s - 2 p + d (kh - 1) + 1 + output_padding; the rest as in `Conv2d`."""
        x = self._checked(x)
        return functional.conv_transpose2d(x, self.weight, self.bias, **self.window, activation=activation, out=out)
