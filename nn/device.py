"""Where numbers lie: in the computer's memory as NumPy arrays, or on a GPU as CuPy arrays; and their way between.

A device is "cpu", "cuda" (the GPU that is CuPy's current one) or "cuda:N". What is moved keeps its memory format, which
CuPy's own functions do not. Everything else here and in the kernels takes arrays where they lie, and never moves them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import require
from ..kernels.namespace import on_device

if TYPE_CHECKING:
    from .module import Module

EXTRAS = "cuda12", "cuda13"  # which bring CuPy


def where(array: Any) -> str:
    """The device of an array: "cpu", or "cuda:0" and the like."""
    return f"cuda:{array.device.id}" if on_device(array) else "cpu"


def home(model: Module) -> str:
    """The device of a model, that of its first parameter; "cpu" where it has none."""
    return next((where(parameter.data) for parameter in model.parameters()), "cpu")


def is_device(name: Any) -> bool:
    """Whether this is meant to be the name of a device."""
    return isinstance(name, str) and name.partition(":")[0] in ("cpu", "cuda")


def resolved(device: str) -> int | None:
    """The number of the GPU that is meant, None for the CPU.

    Raises ValueError for what is no device, ImportError without CuPy, RuntimeError where no GPU answers.
    """
    kind, colon, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if device == "cpu":
        return None
    if kind != "cuda" or (colon and not number.isdecimal()):
        raise ValueError(f'device is {device!r}; "cpu", "cuda" or "cuda:N", as "cuda:0", is needed')
    cuda: Any = require("cupy", extra=EXTRAS).cuda
    try:
        count, current = cuda.runtime.getDeviceCount(), cuda.runtime.getDevice()
    except RuntimeError as error:
        raise RuntimeError(f"device is {device!r}, but no GPU answers: {error}") from error
    if not colon:
        return current
    if int(number) >= count:
        raise ValueError(f"device is {device!r}; there is {'cuda:0' if count == 1 else f'cuda:0 to cuda:{count - 1}'}")
    return int(number)


def described(device: str, threads: int) -> str:
    """The device that computes, for people: the GPU's name, or how many of the CPU's threads."""
    number = resolved(device)
    if number is None:
        return f"CPU, {threads} thread" + ("s" if threads > 1 else "")
    name = require("cupy", extra=EXTRAS).cuda.runtime.getDeviceProperties(number)["name"]
    return f"{device}, {name.decode()}"


def moved(array: Any, device: str) -> Any:
    """`array` itself where it lies on that device, else a copy there. Raises what `resolved` raises."""
    number = resolved(device)
    if number == (array.device.id if on_device(array) else None):
        return array
    apart = [abs(step) if length > 1 else 0 for step, length in zip(array.strides, array.shape, strict=True)]
    axes = sorted(range(array.ndim), key=apart.__getitem__, reverse=True)  # as they lie in memory
    back = np.argsort(axes).tolist()
    if number is None:
        return array.transpose(axes).get().transpose(back)
    cupy: Any = require("cupy", extra=EXTRAS)
    with cupy.cuda.Device(number):
        if on_device(array):  # between GPUs CuPy copies contiguous memory alone
            return array.transpose(axes).copy().transpose(back)
        return cupy.asarray(np.asarray(array.transpose(axes), order="C")).transpose(back)


def assign(target: Any, value: Any) -> None:
    """target[...] = value, wherever the two lie."""
    target[...] = moved(value, where(target))


def hosted(name: str, value: Any) -> np.ndarray:
    """`value` as a NumPy array; TypeError for one of a GPU, which nobody has asked to copy."""
    if on_device(value):
        raise TypeError(f"{name} lies on {where(value)}; a NumPy array is needed, and its get() is one")
    return np.asarray(value)


def kept(value: Any) -> Any:
    """An array as it is, anything else as a NumPy array."""
    return value if on_device(value) else np.asarray(value)


def together(name: str, **arrays: Any) -> None:
    """TypeError unless the arrays lie on one device."""
    places = {argument: where(array) for argument, array in arrays.items()}
    if len(set(places.values())) > 1:
        told = ", ".join(f"{argument} on {place}" for argument, place in places.items())
        raise TypeError(f"{name}: arrays must lie on one device, got {told}; .to(device) moves a tensor or a model")
