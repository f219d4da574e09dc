"""What the networks share: their arguments kept for `save`, and a first look at the images."""

from __future__ import annotations

from numbers import Real
from typing import Any

from ..functional import Input
from ..layers import positive
from ..module import Module
from ..tensor import Tensor, as_tensor

DEEPEST = 64  # no network is: a file that says more would only take time


class Network(Module):
    """A module for N x in_channels x H x W images whose constructor's arguments are in `config`, and attributes."""

    config: dict[str, Any]
    in_channels: int
    classes: int
    width: int
    batch_norm: bool
    dropout: float

    def _configure(self, *, dropout: float | None = None, **arguments: int) -> None:
        """Keep the arguments: flags, positive integers, and dropout, a probability below 1.

        Raises ValueError or TypeError naming the argument.
        """
        name = type(self).__name__
        self.config = {
            key: value if isinstance(value, bool) else positive(f"{name}: {key}", value)
            for key, value in arguments.items()
        }
        if self.config.get("depth", 0) > DEEPEST:
            raise ValueError(f"{name}: depth is {self.config['depth']}; at most {DEEPEST} is possible")
        if dropout is not None:
            if not isinstance(dropout, Real) or not 0 <= dropout < 1:
                raise ValueError(f"{name}: dropout is {dropout!r}; a probability from 0 to below 1 is needed")
            self.config["dropout"] = float(dropout)
        vars(self).update(self.config)

    def _images(self, images: Input, *, least: int = 1, exactly: tuple[int, int] | None = None) -> Tensor:
        """`images` as a tensor; ValueError unless N x in_channels x H x W with H and W of `least` or `exactly`."""
        x, name, channels = as_tensor(images), type(self).__name__, self.in_channels
        sides = "H x W" if exactly is None else f"{exactly[0]} x {exactly[1]}"
        if x.ndim != 4 or x.shape[1] != channels or x.shape[2:] != (exactly or x.shape[2:]):
            raise ValueError(f"{name}: images have shape {x.shape}; N x {channels} x {sides} is needed")
        if min(x.shape[2:]) < least:
            height, width = x.shape[2:]
            raise ValueError(f"{name}: images are {height} x {width}; at least {least} x {least} pixels are needed")
        return x

    def _choice(self, argument: str, allowed: Any) -> None:
        """ValueError unless the argument is one of `allowed`."""
        if self.config[argument] not in allowed:
            words = " or ".join(map(repr, allowed))
            raise ValueError(f"{type(self).__name__}: {argument} is {self.config[argument]!r}; {words} is needed")

    def describe(self) -> str:
        """The arguments."""
        return ", ".join(f"{key}={value!r}" for key, value in self.config.items())
