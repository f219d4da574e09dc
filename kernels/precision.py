"""How exactly float32 products are computed where a device has a faster, coarser way: in tensor cores."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .arguments import Arguments

PRECISIONS = ("fp32", "tf32")


class _Setting(threading.local):
    value = "fp32"


_setting = _Setting()


def get_precision() -> str:
    """The precision of this thread's convolutions of float32 arrays: "fp32" or "tf32"."""
    return _setting.value


def set_precision(value: str) -> None:
    """Let convolutions of float32 arrays in this thread have at least this precision.

    value: "fp32", or "tf32", which allows tensor cores to round the factors of every product to 10 bits after the
    point (their sums are float32). On a CPU, where nothing is gained by it, both are float32.

    Raises ValueError for anything else.
    """
    _setting.value = Arguments("set_precision").choice("value", value, PRECISIONS)


@contextmanager
def precision(value: str) -> Iterator[None]:
    """Within it convolutions have that precision: see `set_precision`.

    >>> from upconv import kernels
    >>> with kernels.precision("tf32"):
    ...     kernels.get_precision()
    'tf32'
    """
    before = get_precision()
    set_precision(value)
    try:
        yield
    finally:
        _setting.value = before


def checked(check: Arguments, value: Any) -> str:
    """The precision of a call: what it asks for, or this thread's."""
    return get_precision() if value is None else check.choice("precision", value, (None, *PRECISIONS))
