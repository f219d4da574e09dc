"""Image files to masks in files, with a model in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .files import Pathlike, write
from .images import InputError, channels, png, read_image
from .inference import probabilities
from .io import load_given
from .tensor import Array


def predict_file(model: Pathlike, image: Pathlike, output: Pathlike, probability: Pathlike | None = None) -> Array:
    """Predict the image in a file with the model in a file; write the mask to the PNG `output`, and return the labels.

    Two classes are written as 0 and 255, more as class indices. probability: a second PNG, 0..255, for the probability
    of class 1 (two classes) or of the class that was chosen. Each file appears complete or not at all.
    Raises InputError saying which file cannot be used, and why.
    """
    paths = [Path(path) for path in (output, probability) if path is not None]
    _check(paths, [Path(image), Path(model)])
    network = load_given(model)
    pixels = read_image(image)
    config: dict[str, Any] = network.config or {}
    wanted = config["in_channels"] if "in_channels" in config else pixels.shape[2]
    if pixels.shape[2] != wanted:
        raise InputError(f"{image} has {channels(pixels.shape[2])}; {model} was trained on {channels(wanted)}")
    try:
        scores = probabilities(network, pixels)
    except ValueError as error:
        raise InputError(f"{model} with {image}: {error}") from error
    if len(scores) > 256:
        raise InputError(f"{model} knows {len(scores)} classes; masks are written with up to 256")
    labels = scores.argmax(axis=0).astype(np.uint8)
    write(output, png(labels * np.uint8(255) if len(scores) == 2 else labels))
    if probability is not None:
        chosen = scores[1] if len(scores) == 2 else scores.max(axis=0)
        write(probability, png(np.rint(chosen * 255).astype(np.uint8)))
    return labels


def _check(outputs: list[Path], inputs: list[Path]) -> None:
    for path in outputs:
        if path.suffix.lower() != ".png":
            raise InputError(f"{path} must be named .png: masks and probabilities are written as PNG")
        if not path.parent.is_dir():
            raise InputError(f"there is no folder {path.parent} to write {path.name} to")
        if path.resolve() in [each.resolve() for each in inputs]:
            raise InputError(f"{path} would overwrite what is read; give another --output")
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise InputError(f"{outputs[0]} cannot be mask and probability at once; give each its name")
