"""What settings ask for: the images of a training, and its network."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from ..errors import InputError
from ..settings import Network, Source
from . import models
from .data import Data, nuclei
from .folder import read_folder
from .module import Module
from .scenery import scenes

NETWORKS = {name.lower(): getattr(models, name) for name in models.__all__}


def images(source: Source, seed: int) -> Data:
    """The images to train on, and those held out. Raises InputError with all that is wrong with them."""
    chosen = {name: value for name, value in asdict(source).items() if value is not None and name != "data"}
    if source.folder is not None:
        return read_folder(**chosen, seed=seed)
    return scenes(**chosen, seed=seed) if source.data == "scenes" else nuclei(**chosen)


def placed(model: Module, device: str | None) -> Module:
    """The model, moved to a device unless that is None. InputError where there is no such device."""
    try:
        return model if device is None else model.to(device)
    except (ValueError, RuntimeError) as error:
        raise InputError(str(error)) from error


def build(data: Data, network: Network, seed: int) -> Module:
    """The untrained network for these data: its weights are drawn with the seed. Raises InputError if there is none."""
    rng, arguments = np.random.default_rng((seed, 0)), network.arguments
    try:
        return NETWORKS[network.network](in_channels=data.channels, classes=data.classes, **arguments, rng=rng)
    except (ValueError, OverflowError) as error:  # more than memory could ever hold, or a depth that it has not
        sizes = " and ".join(f"{name} {arguments[name]}" for name in ("width", "depth") if name in arguments)
        raise InputError(f"there is no {network.network} of {sizes}: {error}") from error
