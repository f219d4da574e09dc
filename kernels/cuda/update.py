"""Optimisers' steps on a GPU: all parameters of a model in one pass over memory, by one kernel.

A table says where each parameter's arrays lie, and holds the constants of its step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..capture import uploaded
from ..cpu.update import CONSTANTS, RULES
from ..layout import Array
from ..namespace import address
from .maps import THREADS
from .module import kernel
from .strides import NUMBERS, WIDEST

UNROLL = 2  # vectors of each array that a thread takes
ADDRESSES = (
    4  # of the table's columns: weights, gradients, two states; then come numbers, chunks before, and if aligned
)
COLUMNS = ADDRESSES + 3 + CONSTANTS  # of 8 bytes each: see Row in update.cu

Constants = Sequence[Callable[[], tuple[float, ...]]]


def update(rule: str, rows: Sequence[tuple[Array, ...]], constants: Constants) -> None:
    """As `kernels.update.update`."""
    for dtype in sorted({row[0].dtype for row in rows}, key=str):
        mine = [at for at, row in enumerate(rows) if row[0].dtype == dtype and row[0].size]
        if mine:
            _update(rule, [rows[at] for at in mine], [constants[at] for at in mine])


def _update(rule: str, rows: list[tuple[Array, ...]], constants: Constants) -> None:
    dtype, states = rows[0][0].dtype, RULES[rule][1]
    lanes = WIDEST // dtype.itemsize
    table = np.zeros((len(rows), COLUMNS), np.int64)
    chunks = 0
    for line, row in zip(table, rows, strict=True):
        addresses = [address(each) for each in row]
        line[: len(row)] = addresses
        line[ADDRESSES : ADDRESSES + 3] = row[0].size, chunks, not any(each % WIDEST for each in addresses)
        chunks += -(-row[0].size // (THREADS * lanes * UNROLL))

    def fill() -> None:
        for line, each in zip(table, constants, strict=True):
            given = each()
            line[-CONSTANTS:].view(np.float64)[: len(given)] = given

    run = kernel(
        "update.cu",
        "update",
        NUMBER=NUMBERS[dtype],
        LANES=lanes,
        INDEX="u32",
        STEP=rule,
        STATES=states,
        UNROLL=UNROLL,
    )
    run(chunks, THREADS, uploaded(table, fill), np.int32(len(rows)))
