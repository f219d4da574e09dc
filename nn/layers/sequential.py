"""Modules one after the other."""

from __future__ import annotations

from typing import Any

from ..functional import Input
from ..module import Module, ModuleList
from ..tensor import Array
from .activations import ReLU
from .convolution import Convolution
from .linear import Linear
from .normalization import BatchNorm2d

FUSED = (BatchNorm2d, Convolution, Linear)  # take activation="relu"


class Sequential(ModuleList):
    """y = the modules, each applied to the result of the one before; `Sequential(a, b, c)`.

    What holds weights runs as one kernel with a `ReLU` that follows it. Names are "0", "1", ...
    """

    def __init__(self, *modules: Module) -> None:
        """Take the modules in the order in which they run."""
        super().__init__(modules)

    def __getitem__(self, index: int | slice) -> Any:
        """The module with that number, or for a slice a Sequential of the same modules."""
        return Sequential(*self._items[index]) if isinstance(index, slice) else self._items[index]

    def forward(self, x: Input, *, out: Array | None = None) -> Any:
        """The first module's input -> the last one's result. out: handed to the last, a convolution."""
        steps = list(self)
        while steps:
            module, options = steps.pop(0), {}
            if isinstance(module, FUSED) and steps and type(steps[0]) is ReLU:
                steps.pop(0)
                options["activation"] = "relu"
            x = module(x, **options) if steps or out is None else module(x, **options, out=out)
        return x
