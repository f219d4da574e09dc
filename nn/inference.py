"""Images of any size through a trained network: padded by reflection, tile by tile, cropped back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import lazy
from .data import moments
from .modes import inference_mode
from .module import Module, evaluating
from .plan import Place, Plan, computed, finite, is_lazy, planned
from .tensor import Array

TILE = 1024  # pixels a side that are predicted at a time: memory stays bounded however large the image is
OnTile = Callable[[int, int], None]  # is told how many tiles are done, and of how many


def predict(model: Module, image: Any, *, tile: int = TILE, on_tile: OnTile | None = None) -> Any:
    """argmax over k of `probabilities`: the class index of every pixel, H x W uint8 (uint16 from 257 classes on).

    Of the probabilities only those of a tile are in memory. Arguments and errors: see `probabilities`.

    >>> import numpy as np
    >>> from upconv import nn
    >>> nn.predict(nn.UNet(1, 3, width=2, depth=2, rng=0), np.zeros((21, 34))).shape
    (21, 34)
    """
    return _whole(model, image, tile, on_tile, labels)


def probabilities(model: Module, image: Any, *, tile: int = TILE, on_tile: OnTile | None = None) -> Any:
    """P[k, i, j] = softmax over k of model(normalise(image))[k, i, j]: classes x H x W float32.

    model: any network that gives scores for pixels. image: H x W or H x W x C of any size, integers or floats, as in
    its file; it is normalised as in training. It is reflected at its borders to a size that the network takes: at the
    bottom and the right, and where the scores lack a margin, as an unpadded U-Net's do, by that on each side as well.

    Images larger than `tile` are computed in tiles of so many pixels a side, or of what a score can see where that is
    more. They overlap by that (the overlap-tile strategy of Ronneberger et al. 2015, figure 2). What a score sees, and
    how tiles have to lie for strides to meet the same pixels, is read off the network's calls. So the result is that of
    the whole image; in float32 kernels may add in another order for another size, or choose Winograd, which changes
    probabilities by 1e-5 at most for scores of usual size. Beside image and result, memory is needed for one tile. A
    network whose scores depend on everything, as with global pooling, gets the whole image at once, whatever the tile.
    on_tile(done, tiles) is called after each.

    A Dask array gives a Dask array (extra `dask`) in chunks of a tile, of which nothing is computed yet; but this call
    reads the image once, for its mean and deviation. The weights are those of now. Some rows of tiles are in memory.

    Raises ValueError for an image with a wrong number of axes or channels, no pixel, or pixels that are not finite, and
    for a network that takes no such image or labels no pixels; TypeError for an image of anything but numbers, or of
    CuPy's: images lie in the computer's memory, wherever the model is.
    """
    return _whole(model, image, tile, on_tile, unchanged)


def labels(scores: Array) -> Array:
    """The index of the largest score of every pixel, in the smallest integers that hold the index of every class."""
    return scores.argmax(axis=0).astype(np.min_scalar_type(len(scores) - 1))


def unchanged(scores: Array) -> Array:
    """The probabilities themselves."""
    return scores


def _whole(model: Module, image: Any, tile: int, on_tile: OnTile | None, made: Callable[[Array], Array]) -> Any:
    """What is `made` of the probabilities of every tile, as one array."""
    plan = planned(model, image, tile)
    like = made(np.zeros((plan.classes, 1, 1), np.float32))
    if is_lazy(plan.image):
        if on_tile is not None:
            raise ValueError("predict: on_tile is for arrays in memory; of a Dask array its scheduler shows progress")
        return lazy.predicted(model, plan, made, like)
    result = np.empty((*like.shape[:-2], *plan.size), like.dtype)
    for place, scores in tiles(model, plan, on_tile):
        result[(..., *place)] = made(scores)
    return result


def tiles(model: Module, plan: Plan, on_tile: OnTile | None = None) -> Iterator[tuple[Place, Array]]:
    """(where in the result, the probabilities there) of each tile, row by row."""
    statistics = finite(moments(plan.image))
    down, right, count = plan.rows.pixels, plan.columns.pixels, len(plan.rows.own) * len(plan.columns.own)
    places = ((above, left) for above in plan.rows for left in plan.columns)
    with evaluating(model), inference_mode():
        for done, ((rows, above, i), (columns, left, j)) in enumerate(places, 1):
            part = plan.image[np.ix_(down[above], right[left])]
            yield (rows, columns), computed(model, part, statistics, (i, j))
            if on_tile is not None:
                on_tile(done, count)
