"""Which arrays share memory, and into which a kernel can write as they lie."""

from typing import Any

import numpy as np

from . import layout
from .layout import Array
from .namespace import address, aligned, is_array, namespace, on_device


def layout_serves(out: Array) -> bool:
    """True where a kernel can write straight into `out`."""
    return aligned(out) and (out.ndim != 4 or layout.is_channels_last(out))


def may_share_memory(a: Array, b: Array) -> bool:
    """False where the stretches of memory from their first number to their last are apart."""
    return bool(namespace(a).may_share_memory(a, b))


def same_memory(out: Array, argument: Any) -> bool:
    """True where the two are views of exactly the same numbers."""
    return (
        is_array(argument)
        and address(out) == address(argument)
        and (out.shape, out.strides, out.dtype) == (argument.shape, argument.strides, argument.dtype)
    )


def overlaps(out: Array, argument: Any) -> bool:
    """True unless it is quickly shown that the two share no memory."""
    if not is_array(argument) or on_device(argument) != on_device(out):
        return False
    if on_device(out):
        return may_share_memory(out, argument)
    try:
        return np.shares_memory(out, argument, max_work=100)  # type: ignore[arg-type]  # any count is allowed
    except np.exceptions.TooHardError:
        return True
