"""Reductions in splits: every part is summed by itself, then the parts are added in their order."""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import numpy as np

from ..layout import Array
from .module import kernel
from .strides import NUMBERS, dense, strides, vector_of

COUNTS: dict[Any, str] = {np.uint32: "u32", np.int64: "i64"}


def shares(terms: int, most: int) -> tuple[int, int]:
    """(terms of a part, parts) of a sum in at most `most` parts, at least one, all of one length but for the last."""
    share = max(1, ceil(terms / max(1, most)))
    return share, max(1, ceil(terms / share))


def add_splits(output: Array, parts: Array, bias: Array | None, activation: str | None, splits: int) -> None:
    """y = act(b + the sum of the parts), which lie one after another."""
    _, k, rows, columns = output.shape
    apart = strides(output)
    vector = vector_of(output, k, apart[0], *apart[2:])
    size = prod(output.shape)
    count = np.uint32 if size + 256 * vector < 2**32 else np.int64
    run = kernel(
        "splits.cu",
        "add_splits",
        NUMBER=NUMBERS[output.dtype],
        VECTOR=vector,
        BIAS=int(bias is not None),
        RELU=int(activation == "relu"),
        INDEX=COUNTS[count],
    )
    run(
        ceil(size / vector / 256),
        256,
        *(parts, dense(bias), output),
        *map(np.int64, (apart[0], *apart[2:])),
        count(size),
        *map(np.int32, (splits, rows, columns, k)),
    )
