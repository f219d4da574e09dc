"""Weights in the order in which the tiles read them, and back."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..layout import Array
from ..memory import empty
from . import machine
from .jit import VIEWS, claim, integers, kernel
from .machine import LINE
from .parallel import SMALL, run
from .transpose import transpose


def aligned(size: int) -> tuple[Array, int]:
    """Memory of at least `size` bytes, and the address on a cache line at which they begin."""
    memory = empty((size + LINE,), np.dtype(np.uint8))
    return memory, -(-memory.ctypes.data // LINE) * LINE


def is_packed(weight: Array) -> bool:
    """Whether forms are kept with it (`kernels.pack`)."""
    return getattr(weight, "forms", None) is not None


def kept(weight: Array, name: Any, make: Callable[[], Any]) -> Any:
    """What `make()` gives: made once for each name where the weight is packed (`kernels.pack`)."""
    forms = getattr(weight, "forms", None)
    if forms is None:
        return make()
    form = forms.get(name)
    if form is None:
        form = forms[name] = make()  # whole before any other thread sees it
    return form


# A row of the table of panels: bytes from the weight to the group's, bytes to where it is packed, number of the panel,
# panels and filters of the group, how many filters are one stride apart and bytes from there to the next as many, taps,
# and bytes between filters, channels and taps.
PACKED = 13


def pack(packed: int, weight: Array, table: int, panels: int, channels: int, chunk: int, columns: int) -> None:
    """Write (chunk of channels, panel of filters, kh, kw, channel, filter), a last panel filled up with zeros.

    packed: address to write to. table: address of a row for each of the `panels`. columns: filters in a panel.
    """
    run(
        _pack(weight.dtype, machine.vectors().lanes(weight.dtype)),
        panels if weight.size else 0,
        weight.ctypes.data,
        table,
        (channels, chunk, columns),
        packed,
        small=weight.nbytes < SMALL,
    )


def packed_panels(weight: Array, name: Any, size: int, table: Array, *sizes: int) -> tuple[Array, int]:
    """The weight packed into `size` bytes of memory, and their address, as `pack` does it; kept under `name`.

    sizes: channels, chunk, columns.
    """

    def packed() -> tuple[Array, int]:
        memory, address = aligned(size)
        pack(address, weight, table.ctypes.data, len(table), *sizes)
        return memory, address

    return kept(weight, name, packed)


@cache
def _pack(dtype: np.dtype, lanes: int) -> Any:
    view, size = VIEWS[dtype.name], dtype.itemsize
    turn, LANES = transpose(dtype, lanes), lanes

    @kernel(f"pack-{dtype}x{lanes}")
    def pack(work, scratch, count, weight, table, sizes, packed):  # type: ignore[no-untyped-def]
        channels, chunk, columns = sizes
        item = claim(work)
        while item < count:
            row = integers(table + item * 8 * PACKED, PACKED)
            source, begun, panel, panels, filters = weight + row[0], packed + row[1], row[2], row[3], row[4]
            inner, jump, kh, kw = row[5], row[6], row[7], row[8]
            per_filter, per_channel, down, right = row[9], row[10], row[11], row[12]
            first = panel * columns
            valid = min(columns, filters - first)
            # Are they all one stride apart?
            together = jump == inner * per_filter or first // inner == (first + valid - 1) // inner
            for u in range(kh):
                for v in range(kw):
                    taken = source + u * down + v * right + first // inner * jump + first % inner * per_filter
                    for begin in range(0, channels, chunk):
                        now = min(chunk, channels - begin)
                        at = begin * panels * kh * kw + ((panel * kh + u) * kw + v) * now
                        rows = begun + at * columns * size
                        origin = taken + begin * per_channel
                        if not together:
                            for k in range(valid):
                                f = first + k
                                here = origin + (f // inner - first // inner) * jump
                                here += (f % inner - first % inner) * per_filter
                                for c in range(now):
                                    view(rows + (c * columns + k) * size, 1)[0] = view(here + c * per_channel, 1)[0]
                        elif per_filter == size:
                            for c in range(now):
                                line, given = (
                                    view(rows + c * columns * size, valid),
                                    view(origin + c * per_channel, valid),
                                )
                                for k in range(valid):
                                    line[k] = given[k]
                        elif per_channel < per_filter:  # in the order of the source's memory
                            squares = valid // LANES * LANES if per_channel == size else 0, now // LANES * LANES
                            for k in range(0, squares[0], LANES):
                                for c in range(0, squares[1], LANES):
                                    target = rows + (c * columns + k) * size
                                    turn(target, columns * size, origin + k * per_filter + c * size, per_filter)
                            for k in range(valid):
                                for c in range(squares[1] if k < squares[0] else 0, now):
                                    view(rows + (c * columns + k) * size, 1)[0] = view(
                                        origin + k * per_filter + c * per_channel, 1
                                    )[0]
                        else:
                            for c in range(now):
                                line = view(rows + c * columns * size, columns)
                                for k in range(valid):
                                    line[k] = view(origin + k * per_filter + c * per_channel, 1)[0]
                        for c in range(now if valid < columns else 0):
                            line = view(rows + c * columns * size, columns)
                            for k in range(valid, columns):
                                line[k] = 0
            item = claim(work)

    return pack
