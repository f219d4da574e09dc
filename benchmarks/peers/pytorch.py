"""The same in PyTorch, in both of its memory formats. Importing this needs torch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from upconv.kernels.op import OPERATORS

from ..calls import forward_of
from ..cases import LR, MOMENTUM, Call
from .pytorch_functions import COUNTERPARTS
from .pytorch_unet import like

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
UNABLE = {("nll_loss_input", "PyTorch NHWC")}  # it asks for a contiguous gradient, which it makes itself
FORMATS = {"PyTorch NHWC": torch.channels_last, "PyTorch NCHW": torch.contiguous_format}
TITLE, VERSION = "PyTorch", torch.__version__


def keep_freed_memory() -> None:
    """Let PyTorch reuse the memory of freed results, as upconv does, where the C library is glibc.

    Else each result of 32 MiB and more is fresh, and its page faults take longer than any operator on maps: a relu of
    128 MiB took 35 ms instead of 6.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def prepare(threads: int) -> None:
    """Compute with so many threads, and keep the memory of freed results."""
    torch.set_num_threads(threads)
    keep_freed_memory()


def convert(x: Any, memory_format: torch.memory_format, device: str = "cpu") -> Any:
    """An array, or several, as tensors in this format; anything else as it is."""
    if isinstance(x, list):
        return [convert(each, memory_format, device) for each in x]
    if not isinstance(x, np.ndarray):
        return x
    tensor = torch.from_numpy(np.ascontiguousarray(x)).to(device)
    return tensor.contiguous(memory_format=memory_format) if tensor.ndim == 4 else tensor


def candidates(
    call: Call, device: str = "cpu", entrants: Sequence[str] = tuple(FORMATS)
) -> dict[str, Callable[[], Any]]:
    """The call in each memory format that PyTorch can do it in, on tensors that are in it already.

    Empty where it has no such operator.
    """
    forward = forward_of(call.operator)
    if (forward or call.operator) not in PEERS:
        return {}
    if forward and all(call.forward[name] is None for name in _wanted(call)):
        return {}  # a gradient of what this call goes without
    make = _backward if forward else _forward
    formats = {name: FORMATS[name] for name in entrants if (call.operator, name) not in UNABLE}
    return {name: make(call, each, device) for name, each in formats.items()}


def _forward(call: Call, memory_format: torch.memory_format, device: str) -> Callable[[], Any]:
    arguments = {name: convert(value, memory_format, device) for name, value in call.arguments.items()}

    def run() -> Any:
        with torch.inference_mode():
            return PEERS[call.operator](**arguments)

    return run


def _wanted(call: Call) -> tuple[str, ...]:
    """The arguments whose gradients the call gives."""
    gradients = OPERATORS[str(forward_of(call.operator))].gradients.items()
    wanted = next(of for of, each in gradients if each.op.name == call.operator)  # type: ignore[attr-defined]
    return (wanted,) if isinstance(wanted, str) else wanted


def _backward(call: Call, memory_format: torch.memory_format, device: str) -> Callable[[], Any]:
    """The backward pass alone, for no more gradients than the call gives."""
    forward, names = forward_of(call.operator), _wanted(call)
    arguments = {name: convert(value, memory_format, device) for name, value in call.forward.items()}
    inputs = [arguments[name].requires_grad_() for name in names if arguments[name] is not None]
    results = PEERS[str(forward)](**arguments)
    y = results[0] if isinstance(results, tuple) else results
    grad = convert(call.arguments["grad"], memory_format, device) if "grad" in call.arguments else torch.ones_like(y)

    def run() -> Any:
        found = torch.autograd.grad(y, inputs, grad, retain_graph=True)
        return found if len(names) > 1 else found[0]

    return run


PEERS: dict[str, Callable[..., Any]] = {
    **COUNTERPARTS,
    # as users call it: what else the counterpart does is for NaN in void pixels
    "cross_entropy": lambda logits, labels, **options: F.cross_entropy(logits, labels, **options),
    "dropout": lambda x, *, p, seed: F.dropout(x, p),
    "max_pool2d_offsets": lambda x, kernel_size, **window: F.max_pool2d(x, kernel_size, **window, return_indices=True),
}


def networks(model: Any, images: np.ndarray, labels: np.ndarray) -> dict[str, tuple[Callable[[], Any], Any]]:
    """(forward, training step, which returns the loss) of a U-Net's twin in each memory format."""
    return {name: network(model, images, labels, name) for name in FORMATS}


def network(
    model: Any, images: np.ndarray, labels: np.ndarray, name: str, device: str = "cpu"
) -> tuple[Callable[[], Any], Any]:
    """The same in one of them; SGD as in upconv."""
    memory_format = FORMATS[name]
    twin = like(model).to(device, memory_format=memory_format)
    optimizer = torch.optim.SGD(twin.parameters(), lr=LR, momentum=MOMENTUM)
    x, target = (convert(each, memory_format, device) for each in (images, labels))

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return twin(x)

    def step() -> torch.Tensor:
        loss = F.cross_entropy(twin(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return forward, step
