"""Images of any size through a trained network: padded by reflection, tile by tile, cropped back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .data import normalise
from .files import Pathlike, write
from .functional import softmax
from .images import InputError, channels, png, read_image
from .io import load_given
from .models import UNet
from .tensor import inference_mode

Array = npt.NDArray[Any]

TILE = 1024  # pixels a side that are predicted at a time: memory stays bounded however large the image is


def predict(model: UNet, image: Array) -> Array:
    """argmax over k of `probabilities`: the class index of every pixel, H x W uint8."""
    return probabilities(model, image).argmax(axis=0).astype(np.uint8)


def probabilities(model: UNet, image: Array, *, tile: int = TILE) -> Array:
    """P[k, i, j] = softmax over k of model(normalise(image))[k, i, j]: classes x H x W float32.

    image: H x W or H x W x C of any size and dtype, as in its file; it is normalised as in training. It is reflected at
    its borders to a size that fits the model: for a padded model at the bottom and the right, up to a multiple, for
    an unpadded one by the margin on each side as well. Images larger than `tile` are computed in tiles that overlap by
    what a pixel can see, so that the result is that of the whole image (the overlap-tile strategy of Ronneberger et al.
    2015, figure 2). The model is left in evaluation mode.
    Raises ValueError for an image with a wrong number of axes or channels, or no pixel.
    """
    image = image[:, :, None] if image.ndim == 2 else image
    wanted = model.config["in_channels"]
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"predict: image has shape {image.shape}; H x W or H x W x C is needed")
    if image.shape[2] != wanted:
        raise ValueError(
            f"predict: the image has {channels(image.shape[2])}; the model was built for {channels(wanted)}"
        )
    if tile < 1:
        raise ValueError(f"predict: tile is {tile}; a positive number of pixels is needed")
    model.eval()
    height, width = image.shape[:2]
    margin, fitted = model.margin, model.valid_input_size(height, width)
    ends = [(margin, fit - margin - size) for fit, size in zip(fitted, (height, width), strict=True)]
    x = np.pad(normalise(image), [(0, 0), *ends], mode="reflect")
    total = model.output_size(*fitted)
    result = np.empty((model.config["classes"], *total), np.float32)
    with inference_mode():
        for rows, up, down in _tiles(model, total[0], tile):
            for columns, left, right in _tiles(model, total[1], tile):
                result[:, rows, columns] = _scores(model, x[:, up, left])[:, down, right]
    return np.ascontiguousarray(result[:, :height, :width])


def _tiles(model: UNet, total: int, tile: int) -> Iterator[tuple[slice, slice, slice]]:
    """Along one axis, (where in the result, which pixels of the input decide it, where in their scores it lies)."""
    multiple = model.multiple
    # A padded model sees zeros where its input ends, so a tile takes with it all that its pixels can see. In pixels of
    # the level: 2 for the 3x3s down, 1 for the pool, 2 for the 3x3s up, 1 for the 2x2; at the bottom 2.
    sight = 8 * multiple if model.padded else 0
    step = -(-tile // multiple) * multiple
    for start in range(0, total, step):
        stop = min(start + step, total)
        first, last = max(start - sight, 0), min(stop + sight, total)
        needed = model.valid_input_size(last - first, 1)[0]
        yield slice(start, stop), slice(first, first + needed), slice(start - first, stop - first)


def _scores(model: UNet, x: Array) -> Array:
    dtype = next(model.parameters()).dtype
    return softmax(model(x[None].astype(dtype, copy=False))).data[0]


def predict_file(model: Pathlike, image: Pathlike, output: Pathlike, probability: Pathlike | None = None) -> Array:
    """Predict the image in a file with the model in a file; write the mask to the PNG `output`, and return the labels.

    Two classes are written as 0 and 255, more as class indices. probability: a second PNG, 0..255, for the probability
    of class 1 (two classes) or of the class that was chosen. Both files appear complete or not at all.
    Raises InputError saying which file cannot be used, and why.
    """
    paths = [Path(path) for path in (output, probability) if path is not None]
    for path in paths:
        if path.suffix.lower() != ".png":
            raise InputError(f"{path} must be named .png: masks and probabilities are written as PNG")
        if not path.parent.is_dir():
            raise InputError(f"there is no folder {path.parent} to write {path.name} to")
        if path.resolve() in (Path(image).resolve(), Path(model).resolve()):
            raise InputError(f"{path} would overwrite what is read; give another --output")
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"{output} cannot be mask and probability at once; give two names")
    network = load_given(model)
    if not isinstance(network, UNet):
        raise InputError(f"{model} holds a {type(network).__name__}; a UNet is needed")
    pixels, wanted = read_image(image), network.config["in_channels"]
    if pixels.shape[2] != wanted:
        raise InputError(f"{image} has {channels(pixels.shape[2])}; {model} was trained on {channels(wanted)}")
    scores = probabilities(network, pixels)
    labels = scores.argmax(axis=0).astype(np.uint8)
    write(output, png(labels * np.uint8(255) if len(scores) == 2 else labels))
    if probability is not None:
        chosen = scores[1] if len(scores) == 2 else scores.max(axis=0)
        write(probability, png(np.rint(chosen * 255).astype(np.uint8)))
    return labels
