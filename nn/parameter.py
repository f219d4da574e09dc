"""Tensors that are trained, and that kernels keep rearranged as weights."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from ..kernels.namespace import on_device
from ..kernels.packed import Packed
from .modes import inference_mode, mode
from .packed import guarded
from .tensor import Array, Tensor


class Parameter(Tensor):
    """A tensor that a `Module` trains: set as an attribute, it is found by `parameters` and named in `state_dict`."""

    __slots__ = ("_packed", "_still")

    def __init__(self, data: npt.ArrayLike, requires_grad: bool = True) -> None:
        """As `Tensor`, with requires_grad on."""
        super().__init__(data, requires_grad)
        self._packed: Packed | None = None
        self._still: inference_mode | None = None  # in which it has been looked at

    def __getstate__(self) -> Any:
        """What a copy, or another process, gets: all but what kernels have made of the data."""
        kept = {name: getattr(self, name) for name in Tensor.__slots__ if name != "__weakref__"}
        return None, {**kept, "_packed": None, "_still": None}

    def packed(self) -> Array:
        """The data as a weight that kernels keep rearranged until a byte of it changes; on a GPU the data."""
        if on_device(self.data):
            self._packed = None
            return self.data
        still = mode.inference
        self._packed = guarded(self.data, self._packed, trusted=still is not None and still is self._still)
        self._still = still
        return self._packed
