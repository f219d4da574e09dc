"""Layers that make maps smaller."""

from __future__ import annotations

from typing import Any

from .. import functional
from ..functional import Input
from ..module import Module
from ..tensor import Tensor
from .arguments import Pair, shown


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
        """What was given to the constructor and differs from its defaults."""
        usual = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}
        return shown(self.kernel_size, values={**self.window, "return_indices": self.return_indices}, usual=usual)


class AvgPool2d(Module):
    """y = the mean of each window; arguments as PyTorch's."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        """Arguments as in `torch.nn.AvgPool2d`."""
        self.kernel_size = kernel_size
        self.window: dict[str, Any] = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
        self.window |= {"count_include_pad": count_include_pad, "divisor_override": divisor_override}

    def forward(self, x: Input) -> Tensor:
        """N C H W -> N C H' W'."""
        return functional.avg_pool2d(x, self.kernel_size, **self.window)

    def describe(self) -> str:
        """What was given to the constructor and differs from its defaults."""
        usual = {"stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True, "divisor_override": None}
        return shown(self.kernel_size, values=self.window, usual=usual)


class GlobalAvgPool2d(Module):
    """y = the mean of each plane, as `torch.nn.AdaptiveAvgPool2d(1)`."""

    def forward(self, x: Input) -> Tensor:
        """N C H W -> N C 1 1."""
        return functional.global_avg_pool2d(x)
