"""Sums over all pixels of each channel, in float64 and in an order that depends on shape and strides alone."""

from functools import cache
from math import gcd
from typing import Any

import numpy as np

from ..layout import Array
from . import machine
from .elementwise import CHUNK, runs
from .jit import VIEWS, claim, kernel
from .machine import LINE
from .parallel import SMALL, run
from .stream import streams
from .sum_loops import HELD, SUMS, column_loop, plane_loop, row_loop

SPLITS = 16, 512  # partial sums of channels-last maps, at least and at most
BLOCK = 4096, 32768  # numbers that one of them takes at a time, about, at least and at most
PLANE = 65536  # numbers of a plane in one sum
PARTIAL = 65536  # numbers of all partial sums, about
WIDTH = 1024  # numbers, about, in a group


def channel_sum(outputs: list[Array], x: Array) -> None:
    """channel_sum."""
    _summed("channel_sum", outputs[0], [x, x, x])


def bias_relu_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """bias_relu_input: relu_input, and the channel sums of what it writes, in one pass."""
    _summed("bias_relu_input", outputs[1], [outputs[0], y, grad])


def _summed(name: str, sums: Array, maps: list[Array]) -> None:
    """Sum the maps' numbers over all but the channels; in bias_relu_input, those written to the first map."""
    if not maps[0].size:
        sums[...] = 0
        return
    partial = (_planes if maps[0].ndim == 3 else _pixels)(name, maps)
    with np.errstate(all="ignore"):  # infinities that cancel or overflow are the caller's, as in the kernel
        sums[...] = partial.sum(axis=0)


def _streams(result: Array, *steps: int) -> int:
    """1 where a result is written past the caches, for which its rows must begin on cache lines."""
    first = result.__array_interface__["data"][0]
    return int(streams(result.nbytes) and not any(step % LINE for step in (first, *steps)))


def folded(channels: int) -> int:
    """How many neighbouring pixels are summed as if they were one; together they end with a vector."""
    if HELD % channels == 0:
        return HELD // channels
    whole = SUMS // gcd(channels, SUMS)
    return whole * (WIDTH // (whole * channels)) if whole * channels <= WIDTH else 1


def _pixels(name: str, maps: list[Array]) -> Array:
    """Partial sums (., channels) of channels-last maps. Few channels are summed as if several pixels were one."""
    channels, size = maps[0].shape[1], maps[0].itemsize
    each = runs(maps)
    fold = folded(channels) if channels < each.length else 1
    width = fold * channels
    splits = max(SPLITS[0], min(SPLITS[1], maps[0].nbytes // CHUNK, PARTIAL // width))
    block = width * max(1, max(BLOCK[0], min(BLOCK[1], maps[0].size // splits)) // width)
    partial = np.zeros((splits, width))
    run(
        _pixel_sums(name, maps[0].dtype, machine.vectors().lanes(maps[0].dtype)),
        splits,
        partial.ctypes.data,
        tuple(a.__array_interface__["data"][0] for a in maps),
        each.steps,
        each.counts,
        (each.length, block, width),
        _streams(maps[0], *each.steps[0], width * size),
        small=maps[0].nbytes < SMALL,
    )
    return partial.reshape(splits * fold, channels)


def _planes(name: str, maps: list[Array]) -> Array:
    """Partial sums (., channels) of maps (N, C, P) whose planes are dense."""
    n, c, pixels = maps[0].shape
    pieces = -(-pixels // PLANE)
    together = max(1, BLOCK[0] // pixels)
    partial = np.empty((n * pieces, c))
    run(
        _plane_sums(name, maps[0].dtype),
        -(-n * c * pieces // together),
        partial.ctypes.data,
        tuple((a.__array_interface__["data"][0], *a.strides[:2]) for a in maps),
        (n, c, pixels, pieces, together),
        _streams(maps[0], *maps[0].strides[:2]),
        small=maps[0].nbytes < SMALL,
    )
    return partial


@cache
def _plane_sums(name: str, dtype: np.dtype) -> Any:
    loop, size, sums = plane_loop(name, dtype), dtype.itemsize, VIEWS["float64"]

    @kernel(f"{name}-planes-{dtype}")
    def plane_sums(work, scratch, count, partial, maps, shape, stream):  # type: ignore[no-untyped-def]
        images, channels, pixels, pieces, together = shape
        first, second, third = maps
        total = sums(partial, images * channels * pieces)
        item = claim(work)
        while item < count:
            for part in range(item * together, min((item + 1) * together, images * channels * pieces)):
                n, piece, c = part // (pieces * channels), part // channels % pieces, part % channels
                start = piece * PLANE
                total[part] = loop(
                    first[0] + n * first[1] + c * first[2] + start * size,
                    second[0] + n * second[1] + c * second[2] + start * size,
                    third[0] + n * third[1] + c * third[2] + start * size,
                    min(PLANE, pixels - start),
                    stream,
                )
            item = claim(work)

    return plane_sums


@cache
def _pixel_sums(name: str, dtype: np.dtype, lanes: int) -> Any:
    by_rows, by_columns, size = row_loop(name, dtype, lanes), column_loop(name, dtype, lanes), dtype.itemsize

    @kernel(f"{name}-{dtype}x{lanes}")
    def pixel_sums(work, scratch, count, partial, addresses, steps, counts, cut, stream):  # type: ignore[no-untyped-def]
        rows, columns = counts[1], counts[2]
        length, block, width = cut
        pieces = (length + block - 1) // block
        blocks = counts[0] * rows * columns * pieces
        split = claim(work)
        while split < count:
            total = partial + split * width * 8
            part, end = split * blocks // count, (split + 1) * blocks // count
            while part < end:
                number, start = part // pieces, part % pieces * block
                n, i, j = number // (rows * columns), number // columns % rows, number % columns
                first = addresses[0] + n * steps[0][0] + i * steps[0][1] + j * steps[0][2] + start * size
                second = addresses[1] + n * steps[1][0] + i * steps[1][1] + j * steps[1][2] + start * size
                third = addresses[2] + n * steps[2][0] + i * steps[2][1] + j * steps[2][2] + start * size
                if length == width:  # pixels that are not side by side
                    some, apart = min(columns - j, end - part), (steps[0][2], steps[1][2], steps[2][2])
                    by_columns(total, (first, second, third), apart, some, width, stream)
                    part += some
                else:
                    now, apart = min(block, length - start), (width * size, width * size, width * size)
                    by_rows(total, (first, second, third), apart, now // width, width, now % width, stream)
                    part += 1
            split = claim(work)

    return pixel_sums
