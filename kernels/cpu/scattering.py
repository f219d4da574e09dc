"""Max-unpooling wherever the indices point: values are scattered into parts of the result that a cache holds."""

from functools import cache
from typing import Any

import numpy as np

from ..layout import Array
from ..window import Pair
from .jit import VIEWS, claim, integers, kernel
from .parallel import SMALL, run, strided
from .stream import streams, write

CHANNELS = 16  # of a whole plane that one item takes where indices are far from where they come from: a cache line
BAND = 128 * 1024  # bytes of the rows of the result that are put together in the cache


def _bands(ranges: Array, size: Pair, pixel: int) -> tuple[int, Array] | None:
    """Rows of the result in a band, and which rows of indices [first, end) reach each band, (N, bands, 2).

    None where a band would be reached from so many rows that whole planes are the better way. pixel: bytes.
    """
    n, rows = ranges.shape[:2]
    height, width = size
    ratio = max(1, height // rows)  # rows of the result to a row of indices, which had better not meet two bands
    band = max(1, BAND // max(1, ratio * width * pixel)) * ratio
    count = -(-height // band)
    low, high = ranges[:, :, 0] // (band * width), ranges[:, :, 1] // (band * width)
    apart = (count + 1) * np.arange(n)[:, None]  # so that one search serves all images
    bands = (np.arange(count) + apart).ravel()
    first = np.searchsorted((np.maximum.accumulate(high, axis=1) + apart).ravel(), bands, "left")
    lowest = np.minimum.accumulate(low[:, ::-1], axis=1)[:, ::-1]
    end = np.searchsorted((lowest + apart).ravel(), bands, "right")
    reach = np.stack([first, end], axis=1).reshape(n, count, 2) - rows * np.arange(n)[:, None, None]
    reach = np.ascontiguousarray(reach)
    return (band, reach) if (reach[..., 1] - reach[..., 0]).clip(0).sum() <= 3 * n * rows else None


def scatter(y: Array, x: Array, indices: Array, ranges: Array) -> None:
    """max_unpool2d: bands of the result are put together in the cache, or where indices are scattered, planes."""
    n, c, h, w = x.shape
    height, width = y.shape[2:]
    shape = (c, h, w, height, width)
    bands = _bands(ranges, (height, width), c * x.itemsize) if y.nbytes > BAND and x.size else None
    if bands is None:
        items = n * -(-c // CHANNELS)
        small = y.nbytes < SMALL
        run(_max_unpool(x.dtype), items, y.ctypes.data, strided(x), strided(indices), shape, small=small)
        return
    rows, reach = bands
    run(
        _max_unpool_bands(x.dtype),
        n * reach.shape[1],
        y.ctypes.data,
        strided(x),
        strided(indices),
        shape,
        (rows, reach.shape[1]),
        reach.ctypes.data,
        ranges.ctypes.data,
        int(streams(y.nbytes)),
        scratch=rows * width * c * x.itemsize,
    )


@cache
def _max_unpool(dtype: np.dtype) -> Any:
    view, size = VIEWS[dtype.name], dtype.itemsize

    @kernel(f"max_unpool-{dtype}")
    def max_unpool(work, scratch, count, y, x, indices, shape):  # type: ignore[no-untyped-def]
        channels, rows, columns, height, width = shape
        parts, pixel = (channels + CHANNELS - 1) // CHANNELS, channels * size
        item = claim(work)
        while item < count:
            n, first = item // parts, item % parts * CHANNELS
            some = min(CHANNELS, channels - first)
            target = y + n * height * width * pixel + first * size
            for q in range(height * width):
                view(target + q * pixel, some)[:] = 0
            for i in range(rows):
                for j in range(columns):
                    value = view(x[0] + n * x[1] + i * x[2] + j * x[3] + first * size, some)
                    index = integers(indices[0] + n * indices[1] + i * indices[2] + j * indices[3] + first * 8, some)
                    for c in range(some):
                        view(target + index[c] * pixel + c * size, 1)[0] = value[c]
            item = claim(work)

    return max_unpool


@cache
def _max_unpool_bands(dtype: np.dtype) -> Any:
    view, size, copy = VIEWS[dtype.name], dtype.itemsize, write(dtype)

    @kernel(f"max_unpool_bands-{dtype}")
    def max_unpool(work, scratch, count, y, x, indices, shape, bands, reach, ranges, stream):  # type: ignore[no-untyped-def]
        channels, rows, columns, height, width = shape
        band_rows, many = bands
        pixel = channels * size
        item = claim(work)
        while item < count:
            n, band = item // many, item % many
            start = band * band_rows * width
            pixels = min(band_rows, height - band * band_rows) * width
            result = y + (n * height * width + start) * pixel
            target = scratch if stream else result
            view(target, pixels * channels)[:] = 0
            plane = target - start * pixel  # where the plane would begin
            reached = integers(reach + item * 16, 2)
            for i in range(reached[0], reached[1]):
                span = integers(ranges + (n * rows + i) * 24, 2)
                if span[1] < start or span[0] >= start + pixels:
                    continue
                within = span[0] >= start and span[1] < start + pixels
                for j in range(columns):
                    value = view(x[0] + n * x[1] + i * x[2] + j * x[3], channels)
                    index = integers(indices[0] + n * indices[1] + i * indices[2] + j * indices[3], channels)
                    if within:
                        for c in range(channels):
                            view(plane + index[c] * pixel + c * size, 1)[0] = value[c]
                    else:
                        for c in range(channels):
                            if start <= index[c] < start + pixels:
                                view(plane + index[c] * pixel + c * size, 1)[0] = value[c]
            if stream:
                copy(result, scratch, pixels * channels, 1)
            item = claim(work)

    return max_unpool


def take(dx: Array, grad: Array, indices: Array, ranges: Array) -> None:
    """max_unpool2d_input: each index takes its pixel from a copy of `grad`, the last first, and leaves 0 there."""
    n, c, h, w = indices.shape
    height, width = grad.shape[2:]
    shape = (c, h, w, height, width)
    bands = _bands(ranges, (height, width), c * grad.itemsize) if grad.nbytes > BAND and indices.size else None
    if bands is None:
        run(
            _max_unpool_input(grad.dtype),
            n * -(-c // CHANNELS),
            dx.ctypes.data,
            strided(grad),
            strided(indices),
            shape,
            scratch=height * width * min(c, CHANNELS) * grad.itemsize,
            small=grad.nbytes < SMALL,
        )
        return
    rows, reach = bands
    run(
        _max_unpool_input_bands(grad.dtype),
        n * reach.shape[1],
        dx.ctypes.data,
        strided(grad),
        strided(indices),
        shape,
        (rows, reach.shape[1]),
        reach.ctypes.data,
        ranges.ctypes.data,
        int(streams(dx.nbytes)),
        scratch=(rows * width + w) * c * grad.itemsize,
    )


@cache
def _max_unpool_input(dtype: np.dtype) -> Any:
    view, size, copy = VIEWS[dtype.name], dtype.itemsize, write(dtype)

    @kernel(f"max_unpool_input-{dtype}")
    def max_unpool_input(work, scratch, count, dx, grad, indices, shape):  # type: ignore[no-untyped-def]
        channels, rows, columns, height, width = shape
        parts = (channels + CHANNELS - 1) // CHANNELS
        item = claim(work)
        while item < count:
            n, first = item // parts, item % parts * CHANNELS
            some = min(CHANNELS, channels - first)
            pixel = some * size
            for p in range(height):
                for q in range(width):
                    source = grad[0] + n * grad[1] + p * grad[2] + q * grad[3] + first * size
                    copy(scratch + (p * width + q) * pixel, source, some, 0)
            for i in range(rows - 1, -1, -1):
                for j in range(columns - 1, -1, -1):
                    result = view(dx + (((n * rows + i) * columns + j) * channels + first) * size, some)
                    index = integers(indices[0] + n * indices[1] + i * indices[2] + j * indices[3] + first * 8, some)
                    for c in range(some - 1, -1, -1):
                        kept = view(scratch + index[c] * pixel + c * size, 1)
                        result[c] = kept[0]
                        kept[0] = 0
            item = claim(work)

    return max_unpool_input


@cache
def _max_unpool_input_bands(dtype: np.dtype) -> Any:
    view, size, copy = VIEWS[dtype.name], dtype.itemsize, write(dtype)

    @kernel(f"max_unpool_input_bands-{dtype}")
    def max_unpool_input(work, scratch, count, dx, grad, indices, shape, bands, reach, ranges, stream):  # type: ignore[no-untyped-def]
        channels, rows, columns, height, width = shape
        band_rows, many = bands
        pixel = channels * size
        stage = scratch + band_rows * width * pixel
        item = claim(work)
        while item < count:
            n, band = item // many, item % many
            top = band * band_rows
            start, pixels = top * width, min(band_rows, height - top) * width
            for p in range(top, top + pixels // width):
                source, row = grad[0] + n * grad[1] + p * grad[2], scratch + (p - top) * width * pixel
                if grad[3] == pixel:
                    copy(row, source, width * channels, 0)
                else:
                    for q in range(width):
                        copy(row + q * pixel, source + q * grad[3], channels, 0)
            plane = scratch - start * pixel  # where the plane would begin
            reached = integers(reach + item * 16, 2)
            for i in range(reached[1] - 1, reached[0] - 1, -1):
                span = integers(ranges + (n * rows + i) * 24, 2)
                if span[1] < start or span[0] >= start + pixels:
                    continue
                within = span[0] >= start and span[1] < start + pixels
                whole = dx + (n * rows + i) * columns * pixel
                target = stage if stream and within else whole
                for j in range(columns - 1, -1, -1):
                    result = view(target + j * pixel, channels)
                    index = integers(indices[0] + n * indices[1] + i * indices[2] + j * indices[3], channels)
                    for c in range(channels - 1, -1, -1):  # wholly backwards, or no cache line is fetched ahead
                        if within or start <= index[c] < start + pixels:
                            kept = view(plane + index[c] * pixel + c * size, 1)
                            result[c] = kept[0]
                            kept[0] = 0
                if stream and within:
                    copy(whole, stage, columns * channels, 1)
            item = claim(work)

    return max_unpool_input
