"""Dask arrays through a network: the tiles of other arrays, as chunks that overlap."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .._extras import require
from .data import measured, pooled
from .modes import inference_mode
from .module import Module
from .plan import Plan, computed, finite
from .sight import Tiling
from .tensor import Array


def predicted(model: Module, plan: Plan, made: Callable[[Array], Array], like: Array) -> Any:
    """What is `made`, as a Dask array in chunks of a tile, or less at the end. like: an example of it, of one pixel."""
    array, delayed = require("dask.array", extra="dask"), require("dask", extra="dask").delayed
    image, rows, columns = plan.image, plan.rows, plan.columns
    statistics = _moments(image)  # now: in one graph with the tiles, chunks would wait for them and fill the memory
    image = _reflected(array, _reflected(array, image, rows, 0), columns, 1)
    overlap = {axis: (each.before, each.after) if len(each.own) > 1 else 0 for axis, each in enumerate((rows, columns))}
    result = array.map_overlap(
        partial(_tile, made=made, rows=rows, columns=columns),
        image.rechunk((rows.own, columns.own, -1), method="tasks"),  # the method p2p waits for all of it
        depth={**overlap, 2: 0},
        boundary="none",
        trim=False,
        allow_rechunk=False,
        network=delayed(Still(model), traverse=False),
        statistics=statistics,
        chunks=(*((side,) for side in like.shape[:-2]), rows.scores, columns.scores),
        drop_axis=2,
        new_axis=[*range(like.ndim - 2)],
        meta=like[(slice(0),) * like.ndim],
    )
    return result.rechunk({-2: rows.own[0], -1: columns.own[0]}, method="tasks")  # the last of their size too, for zarr


class Still:
    """A copy of a network, in evaluation mode, whose weights stand still: many threads may use it at once."""

    def __init__(self, model: Module) -> None:
        """Leave the model itself as it is."""
        self.model, self.mode = copy.deepcopy(model).eval(), inference_mode()
        self.model.zero_grad()


def _tile(
    part: Array,
    network: Still,
    statistics: tuple[float, float],
    block_id: tuple[int, ...],
    made: Callable[[Array], Array],
    rows: Tiling,
    columns: Tiling,
) -> Array:
    """What is made of the tile at `block_id`, from it and what overlaps."""
    inside = rows.inside(block_id[-2]), columns.inside(block_id[-1])
    with network.mode:
        return made(computed(network.model, part, statistics, inside))


def _moments(image: Any) -> tuple[float, float]:
    """The `moments` of the image, a chunk at a time."""
    single, numbers = [(1,) * len(each) for each in image.chunks], np.empty((0, 0, 0, 0))
    parts = image.map_blocks(_measured, new_axis=3, chunks=(*single, (3,)), meta=numbers).compute()
    _, mean, variance = pooled(parts.reshape(-1, 3).tolist())
    return finite((mean, math.sqrt(variance)))


def _measured(chunk: Array) -> Array:
    """What is `measured` of a chunk, along a last axis."""
    return np.reshape(measured(chunk), (1, 1, 1, 3))


def _reflected(array: Any, image: Any, tiling: Tiling, axis: int) -> Any:
    """The image with what reflection adds to it along an axis."""
    before, _, after = np.split(tiling.pixels, [tiling.margin, tiling.margin + tiling.length])
    added = [array.take(image, pixels, axis) for pixels in (before, after)]
    return array.concatenate([added[0], image, added[1]], axis)
