"""Layers that make maps larger and learn nothing."""

from __future__ import annotations

from typing import Any

from .. import functional
from ..functional import Input
from ..module import Module
from ..tensor import Tensor
from .arguments import Pair, shown


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
        """What was given to the constructor and differs from its defaults."""
        return shown(self.kernel_size, values=self.window, usual={"stride": None, "padding": 0})


class Unpool2d(Module):
    """y[n, c, i kh, j kw] = x[n,c,i,j], and 0 elsewhere: each value in the first corner of its kh x kw pixels."""

    def __init__(self, kernel_size: Pair) -> None:
        """kernel_size: kh = kw, or (kh, kw)."""
        self.kernel_size = kernel_size

    def forward(self, x: Input) -> Tensor:
        """N C H W -> N C (H kh) (W kw)."""
        return functional.unpool2d(x, self.kernel_size)

    def describe(self) -> str:
        """The window."""
        return str(self.kernel_size)


class Upsample(Module):
    """y = x interpolated, nearest, bilinear or bicubic, to `size` or by `scale_factor`; arguments as PyTorch's."""

    def __init__(
        self,
        size: Pair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
    ) -> None:
        """Arguments as in `torch.nn.Upsample`."""
        self.options: dict[str, Any] = {"size": size, "scale_factor": scale_factor, "mode": mode}
        self.options["align_corners"] = align_corners

    def forward(self, x: Input) -> Tensor:
        """N C H W -> N C H' W'."""
        return functional.interpolate(x, **self.options)

    def describe(self) -> str:
        """What was given to the constructor and differs from its defaults."""
        usual = {"size": None, "scale_factor": None, "mode": "nearest", "align_corners": False}
        return shown(values=self.options, usual=usual)
