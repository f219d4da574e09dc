"""The same in PyTorch, in both of its memory formats. Importing this needs torch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from upconv import kernels
from upconv.kernels.op import OPERATORS

from .calls import forward_of
from .cases import Call
from .counterparts import COUNTERPARTS

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
UNABLE = {("nll_loss_input", "NHWC")}  # it asks for a contiguous gradient, which it makes itself
FORMATS = {"NHWC": torch.channels_last, "NCHW": torch.contiguous_format}
VERSION = f"PyTorch {torch.__version__}"

torch.set_num_threads(kernels.get_num_threads())


def keep_freed_memory() -> None:
    """Let PyTorch reuse the memory of freed results, as upconv does, where the C library is glibc.

    Else each result of 32 MiB and more is fresh, and its page faults take longer than any operator on maps: a relu of
    128 MiB took 35 ms instead of 6.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


keep_freed_memory()


def convert(x: Any, memory_format: torch.memory_format) -> Any:
    """An array, or several, as tensors in this format; anything else as it is."""
    if isinstance(x, list):
        return [convert(each, memory_format) for each in x]
    if not isinstance(x, np.ndarray):
        return x
    tensor = torch.from_numpy(np.ascontiguousarray(x))
    return tensor.contiguous(memory_format=memory_format) if tensor.ndim == 4 else tensor


def arrays(results: Any) -> Any:
    """Tensors as arrays."""
    return tuple(map(arrays, results)) if isinstance(results, tuple) else results.numpy()


def candidates(call: Call) -> dict[str, Callable[[], Any]]:
    """The call in each memory format that PyTorch can do it in, on tensors that are in it already.

    Empty where it has no such operator, and where the call has nothing that the gradient is for.
    """
    forward = forward_of(call.operator)
    if (forward or call.operator) not in PEERS or (forward and not _inputs(call)):
        return {}
    make = _backward if forward else _forward
    formats = {name: each for name, each in FORMATS.items() if (call.operator, name) not in UNABLE}
    return {name: make(call, each) for name, each in formats.items()}


def _forward(call: Call, memory_format: torch.memory_format) -> Callable[[], Any]:
    arguments = {name: convert(value, memory_format) for name, value in call.arguments.items()}

    def run() -> Any:
        with torch.inference_mode():
            return PEERS[call.operator](**arguments)

    return run


def _inputs(call: Call) -> list[str]:
    """The forward operator's arguments that the call gives the gradients of."""
    gradients = OPERATORS[str(forward_of(call.operator))].gradients.items()
    wanted = next(of for of, each in gradients if each.op.name == call.operator)  # type: ignore[attr-defined]
    return [name for name in ((wanted,) if isinstance(wanted, str) else wanted) if call.forward[name] is not None]


def _backward(call: Call, memory_format: torch.memory_format) -> Callable[[], Any]:
    """The backward pass alone, for no more gradients than the call gives."""
    arguments = {name: convert(value, memory_format) for name, value in call.forward.items()}
    inputs = [arguments[name].requires_grad_() for name in _inputs(call)]
    results = PEERS[str(forward_of(call.operator))](**arguments)
    y = results[0] if isinstance(results, tuple) else results
    grad = convert(call.arguments["grad"], memory_format) if "grad" in call.arguments else torch.ones_like(y)

    def run() -> Any:
        found = torch.autograd.grad(y, inputs, grad, retain_graph=True)
        return found if len(found) > 1 else found[0]

    return run


PEERS: dict[str, Callable[..., Any]] = {
    **COUNTERPARTS,
    "dropout": lambda x, *, p, seed: F.dropout(x, p),
    "max_pool2d_offsets": lambda x, kernel_size, **window: F.max_pool2d(x, kernel_size, **window, return_indices=True),
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
    """The PyTorch twin of a padded `upconv.nn.UNet` without batch normalisation or dropout, with its weights."""
    twin = UNet(*(model.config[name] for name in ("in_channels", "classes", "width", "depth")))
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in model.state_dict().items()})
    return twin
