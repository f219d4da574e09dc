"""The same in PyTorch, in both of its memory formats. Importing this needs torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from upconv import kernels

from .cases import Call

FORMATS = {"NHWC": torch.channels_last, "NCHW": torch.contiguous_format}
VERSION = f"PyTorch {torch.__version__}"

torch.set_num_threads(kernels.get_num_threads())


def convert(x: Any, memory_format: torch.memory_format) -> Any:
    """An array as a tensor in this format, a shape as an empty one, anything else as it is."""
    if isinstance(x, tuple):
        return torch.empty(x, memory_format=memory_format)
    if not isinstance(x, np.ndarray):
        return x
    tensor = torch.from_numpy(np.ascontiguousarray(x))
    return tensor.contiguous(memory_format=memory_format) if tensor.ndim == 4 else tensor


def candidates(call: Call) -> dict[str, Callable[[], Any]]:
    """The call in each memory format, on tensors that are in it already."""
    return {name: _candidate(call, memory_format) for name, memory_format in FORMATS.items()}


def _candidate(call: Call, memory_format: torch.memory_format) -> Callable[[], Any]:
    arguments = [convert(x, memory_format) for x in call.arguments]
    function = PEERS[call.operator]

    def run() -> Any:
        with torch.inference_mode():
            return function(*arguments, **call.options)

    return run


def _gradient(which: int, transposed: bool) -> Callable[..., torch.Tensor]:
    """One of a convolution's two gradients alone, as its backward pass computes it; `torch.nn.grad` may not."""
    wanted = [which == 0, which == 1, False]

    def run(x: Any, w: Any, grad: Any, *, stride: int, padding: int, dilation: int) -> torch.Tensor:
        geometry = [stride, stride], [padding, padding], [dilation, dilation], transposed, [0, 0], 1
        return torch.ops.aten.convolution_backward(grad, x, w, None, *geometry, wanted)[which]

    return run


PEERS: dict[str, Callable[..., Any]] = {
    "conv2d": F.conv2d,
    "conv2d_input": _gradient(0, transposed=False),
    "conv2d_weight": _gradient(1, transposed=False),
    "conv_transpose2d": F.conv_transpose2d,
    "conv_transpose2d_input": _gradient(0, transposed=True),
    "conv_transpose2d_weight": _gradient(1, transposed=True),
    "max_pool2d": F.max_pool2d,
    "max_unpool2d": F.max_unpool2d,
    "relu": F.relu,
}


class Block(torch.nn.Sequential):
    """Two 3x3 convolutions with ReLU."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__(
            torch.nn.Conv2d(first, last, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(last, last, 3, padding=1),
            torch.nn.ReLU(),
        )


class UNet(torch.nn.Module):
    """`upconv.nn.UNet(padded=True)` in PyTorch, parameters under the same names."""

    def __init__(self, in_channels: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(depth + 1)]
        pairs = list(zip(channels[1:], channels[:-1], strict=True))[::-1]
        self.enc = torch.nn.ModuleList(Block(a, b) for a, b in zip([in_channels, *channels], channels, strict=False))
        self.up = torch.nn.ModuleList(torch.nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.dec = torch.nn.ModuleList(Block(a, b) for a, b in pairs)
        self.head = torch.nn.Conv2d(width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for block in self.enc[:-1]:
            skips.append(block(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.enc[-1](x)
        for up, block in zip(self.up, self.dec, strict=True):
            x = block(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


def like(model: Any) -> UNet:
    """The PyTorch twin of an `upconv.nn.UNet`, with its weights."""
    config = {name: value for name, value in model.config.items() if name != "padded"}
    twin = UNet(**config)
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in model.state_dict().items()})
    return twin
