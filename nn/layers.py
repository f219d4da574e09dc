"""The layers: modules that hold a kernel's weights and arguments."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import functional, init
from .functional import Input
from .module import Module, ModuleList
from .tensor import Array, Parameter, Tensor, as_tensor

Pair = int | Sequence[int]


class _Convolution(Module):
    """What both convolutions share: weights, their initialisation, and the check of what comes in."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Pair, groups: int, **window: Any) -> None:
        name = type(self).__name__
        self.in_channels = positive(f"{name}: in_channels", in_channels)
        self.out_channels = positive(f"{name}: out_channels", out_channels)
        self.groups = positive(f"{name}: groups", groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{name}: groups={groups} must divide {in_channels=} and {out_channels=}")
        self.kernel_size = _pair(f"{name}: kernel_size", kernel_size)
        self.window = {**window, "groups": groups}

    def _set_weights(self, first: int, second: int, fan_in: float, bias: bool, rng: init.Seed) -> None:
        n, c, h, w = first, second, *self.kernel_size
        weight = np.empty((n, h, w, c), np.float32).transpose(0, 3, 1, 2)  # channels-last, as the kernels read it
        init.he_normal_(weight, fan_in, rng)
        self.weight = Parameter(weight)
        self.bias = Parameter(np.zeros(self.out_channels, np.float32)) if bias else None

    def _checked(self, x: Input) -> Tensor:
        x = as_tensor(x)
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"{self!r}: the input has shape {x.shape}; N x {self.in_channels} x H x W is needed")
        if x.dtype != self.weight.dtype:
            raise TypeError(f"{self!r}: the input is {x.dtype}, weight and bias are {self.weight.dtype}; convert one")
        return x

    def describe(self) -> str:
        """What was given to the constructor and differs from its defaults."""
        usual = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "bias": True}
        shown = {"kernel_size": self.kernel_size, **self.window, "bias": self.bias is not None}
        words = [f"{key}={value}" for key, value in shown.items() if key not in usual or value != usual[key]]
        return ", ".join([str(self.in_channels), str(self.out_channels), *words])


class Conv2d(_Convolution):
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
        """N C H W -> N K H' W'; activation="relu" in the same pass, the result in `out` if given."""
        x = self._checked(x)
        return functional.conv2d(x, self.weight, self.bias, **self.window, activation=activation, out=out)


class ConvTranspose2d(_Convolution):
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
        reach = math.prod(self.kernel_size) / math.prod(_pair("ConvTranspose2d: stride", stride))
        self._set_weights(in_channels, out_channels // groups, in_channels // groups * reach, bias, rng)

    def forward(self, x: Input, *, activation: str | None = None, out: Array | None = None) -> Tensor:
        """N C H W -> N K H' W', H' = (H - 1) s - 2 p + d (kh - 1) + 1 + output_padding; the rest as in `Conv2d`."""
        x = self._checked(x)
        return functional.conv_transpose2d(x, self.weight, self.bias, **self.window, activation=activation, out=out)


class MaxPool2d(Module):
    """y = the largest element of each window; arguments as PyTorch's. return_indices serves `MaxUnpool2d`."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        """Arguments as in `torch.nn.MaxPool2d`."""
        self.kernel_size = kernel_size
        self.window: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
        self.window["ceil_mode"] = ceil_mode
        self.return_indices = return_indices

    def forward(self, x: Input) -> Any:
        """N C H W -> N C H' W', with return_indices and their int64 positions, flat in H W."""
        return functional.max_pool2d(x, self.kernel_size, return_indices=self.return_indices, **self.window)

    def describe(self) -> str:
        """The window."""
        return str(self.kernel_size)


class MaxUnpool2d(Module):
    """y = 0 except y[n, c, indices[n,c,i,j]] = x[n,c,i,j]; arguments as PyTorch's."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        """Arguments as in `torch.nn.MaxUnpool2d`."""
        self.kernel_size = kernel_size
        self.window: dict[str, Any] = {"stride": stride, "padding": padding}

    def forward(self, x: Input, indices: Input, output_size: Pair | None = None) -> Tensor:
        """N C H W, twice -> N C H' W'. output_size: (H', W') where the pooling left some out."""
        return functional.max_unpool2d(x, indices, self.kernel_size, output_size=output_size, **self.window)

    def describe(self) -> str:
        """The window."""
        return str(self.kernel_size)


class ReLU(Module):
    """y = max(x, 0)."""

    def forward(self, x: Input) -> Tensor:
        """Any N C H W."""
        return functional.relu(x)


class Sequential(ModuleList):
    """y = the modules, each applied to the result of the one before; `Sequential(a, b, c)`.

    A convolution followed by `ReLU` runs as one kernel. Names are "0", "1", ...
    """

    def __init__(self, *modules: Module) -> None:
        """Take the modules in the order in which they run."""
        super().__init__(modules)

    def forward(self, x: Input, *, out: Array | None = None) -> Any:
        """The first module's input -> the last one's result. out: handed to the last, a convolution."""
        steps = list(self)
        while steps:
            module, options = steps.pop(0), {}
            if isinstance(module, _Convolution) and steps and type(steps[0]) is ReLU:
                steps.pop(0)
                options["activation"] = "relu"
            x = module(x, **options) if steps or out is None else module(x, **options, out=out)
        return x


def positive(name: str, value: Any) -> int:
    """`value` as a Python int; ValueError or TypeError, in the words of `name`, if it is no positive integer."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; a positive integer is needed") from None
    if number < 1:
        raise ValueError(f"{name} is {value!r}; a positive integer is needed")
    return number


def _pair(name: str, value: Pair) -> tuple[int, int]:
    sizes = value if isinstance(value, Sequence) else (value, value)
    if len(sizes) != 2:
        raise ValueError(f"{name} is {value!r}; an integer or a pair (height, width) is needed")
    return positive(name, sizes[0]), positive(name, sizes[1])
