"""Images of any size through a trained network: padded by reflection, tile by tile, cropped back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .data import moments, normalise
from .functional import softmax
from .images import channels
from .layers import positive
from .module import Module, evaluating
from .sight import Sight, sight
from .tensor import Array, inference_mode

TILE = 1024  # pixels a side that are predicted at a time: memory stays bounded however large the image is
OnTile = Callable[[int, int], None]  # is told how many tiles are done, and of how many


def predict(model: Module, image: Array, *, tile: int = TILE, on_tile: OnTile | None = None) -> Array:
    """argmax over k of `probabilities`: the class index of every pixel, H x W uint8 (uint16 from 257 classes on).

    Of the probabilities only those of a tile are in memory. Arguments and errors: see `probabilities`.

    >>> import numpy as np
    >>> from upconv import nn
    >>> nn.predict(nn.UNet(1, 3, width=2, depth=2, rng=0), np.zeros((21, 34))).shape
    (21, 34)
    """
    plan = planned(model, image, tile)
    result: Array | None = None
    for place, scores in _computed(model, plan, on_tile):
        if result is None:
            result = np.empty(plan.size, labels_dtype(len(scores)))
        result[place] = scores.argmax(axis=0)
    assert result is not None
    return result


def probabilities(model: Module, image: Array, *, tile: int = TILE, on_tile: OnTile | None = None) -> Array:
    """P[k, i, j] = softmax over k of model(normalise(image))[k, i, j]: classes x H x W float32.

    model: any network that gives scores for pixels. image: H x W or H x W x C of any size and dtype, as in its file; it
    is normalised as in training. It is reflected at its borders to a size that the network takes: at the bottom and the
    right, and where the scores lack a margin, as an unpadded U-Net's do, by that on each side as well.

    Images larger than `tile` are computed in tiles that overlap by what a score can see (the overlap-tile strategy of
    Ronneberger et al. 2015, figure 2). That, and how tiles have to lie for strides to meet the same pixels, is read off
    the network's calls. So the result is that of the whole image; in float32 kernels may add in another order for
    another size, or choose Winograd, which changes probabilities by 1e-5 at most for scores of usual size. A network
    whose scores depend on everything, as with global pooling, gets the whole image at once, whatever the tile.
    on_tile(done, tiles) is called after each.

    Raises ValueError for an image with a wrong number of axes or channels, or no pixel, and for a network that takes no
    such image or labels no pixels.
    """
    plan = planned(model, image, tile)
    result: Array | None = None
    for place, scores in _computed(model, plan, on_tile):
        if result is None:
            result = np.empty((len(scores), *plan.size), np.float32)
        result[(slice(None), *place)] = scores
    assert result is not None
    return result


@dataclass(frozen=True)
class Tile:
    """Which scores it gives, which rows and columns of the image decide them, and where in their scores they lie."""

    place: tuple[slice, slice]
    rows: Array
    columns: Array
    inside: tuple[slice, slice]


@dataclass(frozen=True)
class Plan:
    """An H x W x C image, and its tiles row by row."""

    image: Any
    tiles: list[list[Tile]]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.image.shape[:2]
        return height, width


def planned(model: Module, image: Any, tile: int) -> Plan:
    """The image and its tiles. Raises what `probabilities` raises."""
    image = image[:, :, None] if image.ndim == 2 else image
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"predict: image has shape {image.shape}; H x W or H x W x C is needed")
    given = image.shape[2]
    wanted = getattr(model, "in_channels", given)
    if given != wanted:
        raise ValueError(f"predict: the image has {channels(given)}; the model was built for {channels(wanted)}")
    tile = positive("predict: tile", tile)
    seen = sight(model, given)
    across = list(_along(seen, image.shape[1], tile))
    tiles = [
        [Tile((rows, columns), above, left, (down, right)) for columns, left, right in across]
        for rows, above, down in _along(seen, image.shape[0], tile)
    ]
    return Plan(image, tiles)


def _along(seen: Sight, length: int, tile: int) -> Iterator[tuple[slice, Array, slice]]:
    """Along one axis, (which scores, which of the image's pixels decide them, where in their scores they lie)."""
    total = seen.fitted(length + 2 * seen.margin)
    ends = seen.margin, total - length - seen.margin
    pixels = np.pad(np.arange(length), ends, mode="reflect")
    for place, needed, inside in seen.tiles(length, total, tile):
        yield place, pixels[needed], inside


def _computed(model: Module, plan: Plan, on_tile: OnTile | None) -> Iterator[tuple[tuple[slice, slice], Array]]:
    """(where in the result, the probabilities there) of each tile."""
    statistics = moments(plan.image)
    tiles = [each for row in plan.tiles for each in row]
    with evaluating(model), inference_mode():
        for done, each in enumerate(tiles, 1):
            yield each.place, computed(model, plan.image[np.ix_(each.rows, each.columns)], statistics, each.inside)
            if on_tile is not None:
                on_tile(done, len(tiles))


def computed(model: Module, part: Array, statistics: tuple[float, float], inside: tuple[slice, slice]) -> Array:
    """The probabilities of what is `inside` the scores of a part of an image."""
    dtype = next((each.dtype for each in model.parameters()), np.dtype(np.float32))
    x = normalise(part, statistics)[None].astype(dtype, copy=False)
    scores = softmax(model(x)).data[0][(slice(None), *inside)]
    wanted = tuple(each.stop - each.start for each in inside)
    if scores.shape[1:] != wanted:
        raise ValueError(f"predict: {type(model).__name__} gives {scores.shape[1:]} scores for {wanted} pixels")
    return scores


def labels_dtype(classes: int) -> np.dtype[Any]:
    """The smallest integers that hold the indices of so many classes."""
    return np.min_scalar_type(classes - 1)
