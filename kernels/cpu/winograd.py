"""Winograd's convolution F(4x4, 3x3): a quarter of the direct multiplications, for 3x3 kernels of stride 1.

    Y[k, tile] = A' (sum over c of (G g[k,c] G') * (B' d[c, tile] B)) A

for tiles of 4 x 4 outputs, under which lie 6 x 6 inputs d. With dilation, outputs and inputs of a tile lie that far
apart: a dilated convolution is several ordinary ones of interleaved maps. Data, filters and outputs are transformed
(`winograd_transform`), and in between lie 36 matrix products, filters x tiles summed over channels.

Where tiles are many, threads take a few blocks of them at a time, through all three steps. Where the transformed
filters would not fit the caches, and where tiles are few, all data is transformed first, and threads take panels of
filters, whose transform never leaves the cache.

Error: with u half of epsilon and n = C + 28, at most n u / (1 - n u) times the same sums with |A|, |B|, |G|, |g|, |d|,
which are at most AMPLIFICATION^2 max|x| sum |w[k]|. (Data, filters and outputs are rounded at most eight times each on
their way through two transforms, the filters' constants included, products and sums C times, the bias once.) The errors
of random numbers are near 1e-6 to 1e-5 of the largest output. A NaN or an infinity spoils the tiles that it is read
for, not only its windows.

Source: Lavin & Gray, "Fast algorithms for convolutional neural networks" (2015).
"""

from math import prod
from typing import Any

import numpy as np

from ..layout import Array, Shape, plane
from ..window import Pair, Sides, Window
from . import machine, tile
from .correlation import Again, filled_up
from .packing import aligned, is_packed, kept, packed_panels
from .parallel import run, strided
from .winograd_kernels import by_filters, by_tiles, data_kernel, filter_kernel
from .winograd_plan import plan
from .winograd_tiles import tiled
from .winograd_transform import INPUT, TAPS, TILE

ROUNDINGS = 28  # on the way of a number, beside those of the sum over channels
AMPLIFICATION = 13.3  # the largest of sum over f of |A[f, i]| |G[f, u]| sum over j of |B[j, f]|

# Where the direct sum is faster: measured by `python -m benchmarks choice`, whose numbers are in benchmarks/choice.csv.
FEWEST = 16  # channels to sum over
LEAST_TILES, MANY = 4, 128  # filters that are transformed in every call: 512 -> 512 at 7 x 7 in 1.4 of the time
LEAST = 12000  # tiles x channels x filters, these rounded up to a vector's 16
FILLED = 0.6  # of the pixels of all tiles: 6 x 6 pixels are 36 of 64


def error_bound(dtype: np.dtype, channels: int) -> float:
    """The largest error of a sum over `channels`, over max|x| sum |w[k]|."""
    u = np.finfo(dtype).eps / 2
    n = channels + ROUNDINGS
    return float(n * u / (1 - n * u)) * AMPLIFICATION**2


def as_it_is(weight: Array, shape: tile.Tile) -> tuple[int, ...]:
    """Where the kernels find the filters of a weight: see `transform_filters`."""
    return weight.ctypes.data, *weight.shape[:2], shape.columns * weight.strides[0], *weight.strides


def in_panels(weight: Array, shape: tile.Tile) -> tuple[Any, tuple[int, ...]]:
    """The same of a copy in panels that lie in memory as they are read: of a packed weight, which keeps it.

    512 to 512 channels on 16 x 16 pixels take two thirds of the time.
    """
    if not is_packed(weight):
        return None, as_it_is(weight, shape)
    (filters, channels), size = weight.shape[:2], weight.itemsize
    panels = -(-filters // shape.columns)
    row, taps = channels * shape.columns * size, TAPS * TAPS
    table = [(0, 0, panel, panels, filters, filters, 0, TAPS, TAPS, *weight.strides) for panel in range(panels)]
    form, address = packed_panels(
        weight,
        ("winograd in panels", shape.columns),
        panels * taps * row,
        np.array(table, np.int64),
        channels,
        channels,
        shape.columns,
    )
    strides = taps * row, size, shape.columns * size, TAPS * row, row
    return form, (address, panels * shape.columns, channels, *strides)


def correlate(
    y: Array,
    x: Array,
    weight: Array,
    given: Array,
    origin: Pair,
    dilation: Pair,
    bias: Array | None,
    activation: str | None,
) -> Again:
    """y[n,k,i,j] = f(b[k] + sum over c,u,v of w[k,c,u,v] x[n, c, i + top + u d, j + left + v d]).

    origin: (top, left); x is 0 outside its map. given: the weight as the caller has it, perhaps packed. Gives back how
    to do so in other arrays, (y, x, weight, given, bias).
    """
    made = plan(machine.vectors(), x.dtype, x.shape, y.shape, dilation)
    shape, small, size = made.shape, made.small, x.itemsize
    no_bias = np.zeros((1, made.panels * shape.columns), x.dtype)
    geometry = weight.shape[:2], made.grid, origin, dilation, made.tiles
    between_x, between_y = strided(x)[1:], strided(y)[1:]
    sizes = x.shape[2:], y.shape[2:]
    after = geometry, made.apart, made.room, activation == "relu"
    patch = INPUT * INPUT * -(-x.shape[1] // shape.lanes) * shape.lanes * size

    def again(y: Array, x: Array, weight: Array, given: Array, bias: Array | None) -> None:
        biases = no_bias if bias is None else filled_up(bias, no_bias)
        data, maps = ((x.ctypes.data, *between_x), sizes[0]), ((y.ctypes.data, *between_y), sizes[1])
        if made.groups:
            _values, shared = aligned(made.shared)
            blocks = -(-made.tiles // shape.rows)
            spread = shared, made.apart[0], made.groups, *data, geometry
            run(data_kernel(shape), blocks, *spread, scratch=patch, small=small)
            _panels, weights = in_panels(weight, shape) if weight is given else (None, as_it_is(weight, shape))
            panels = shared, made.groups, *maps, weights, made.chunk, biases.ctypes.data, *after
            run(by_filters(shape), made.items, *panels, scratch=made.scratch, small=small)
            return

        def transformed() -> tuple[Array, int]:
            memory, address = aligned(made.shared)
            block = TAPS * TAPS * shape.lanes * shape.lanes * size
            arguments = address, made.apart[1], as_it_is(weight, shape)
            run(filter_kernel(shape), made.panels, *arguments, scratch=block, small=small)
            return memory, address

        _values, shared = kept(given, ("winograd", shape.name, weight is given), transformed)
        tiles = *data, *maps, shared, biases.ctypes.data, *after
        run(by_tiles(shape), made.items, *tiles, scratch=made.scratch, small=small)

    again(y, x, weight, given, bias)
    return again


def convolve(
    outputs: list[Array],
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    padding: Sides,
    dilation: Pair,
    activation: str | None,
    **parameters: Any,
) -> Again:
    """conv2d."""
    origin = -padding[0][0], -padding[1][0]
    again = correlate(outputs[0], x, weight, weight, origin, dilation, bias, activation)
    return lambda outputs, x, weight, bias: again(outputs[0], x, weight, weight, bias)


def convolve_input(
    outputs: list[Array],
    shape: Shape,
    weight: Array,
    grad: Array,
    *,
    padding: Sides,
    dilation: Pair,
    **parameters: Any,
) -> Again:
    """conv2d_input: the convolution of the gradient with the kernels turned round, from filters to channels."""
    top, left = (sides[0] - (TAPS - 1) * step for sides, step in zip(padding, dilation, strict=True))
    again = correlate(outputs[0], grad, turned(weight), weight, (top, left), dilation, None, None)
    return lambda outputs, shape, weight, grad: again(outputs[0], grad, turned(weight), weight, None)


def turned(weight: Array) -> Array:
    """The kernels turned round, from filters to channels."""
    return weight.swapaxes(0, 1)[:, :, ::-1, ::-1]


def refuses(first: Any, weight: Array, *arguments: Any, stride: Pair, groups: int, **parameters: Any) -> str | None:
    """Of both."""
    return refuses_shape(weight.shape, stride, groups)


def refuses_shape(weight: Shape, stride: Pair, groups: int) -> str | None:
    """Of a convolution with a weight of this shape, and its gradients."""
    if weight[2:] != (TAPS, TAPS):
        return f"the kernel is {weight[2]} x {weight[3]}, not 3 x 3"
    if stride != (1, 1):
        return f"the stride is {stride}, not 1"
    if groups != 1:
        return f"there are {groups} groups"
    return None if prod(weight) else "there is nothing to sum"


def declines(x: Array, weight: Array, *arguments: Any, padding: Sides, dilation: Pair, **parameters: Any) -> str | None:
    """Of `convolve`."""
    window = Window((TAPS, TAPS), (1, 1), padding, dilation)
    pixels = x.shape[0], *window.output_size(plane(x.shape))
    return _declines(weight, weight.shape[1], weight.shape[0], pixels, dilation)


def declines_turned(shape: Shape, weight: Array, *arguments: Any, dilation: Pair, **parameters: Any) -> str | None:
    """Of `convolve_input`."""
    pixels = shape[0], *plane(shape)
    return _declines(weight, weight.shape[0], weight.shape[1], pixels, dilation)


def _declines(weight: Array, channels: int, filters: int, pixels: Shape, dilation: Pair) -> str | None:
    _, tiles = tiled(pixels, dilation)
    if weight.dtype != np.float32:
        return "float64 is for the direct sum's smaller error"
    if channels < FEWEST:
        return f"the direct sum is faster with fewer than {FEWEST} channels"
    if tiles < LEAST_TILES or tiles * channels * -(-filters // 16) * 16 < LEAST:
        return f"the direct sum is faster with {tiles} tiles, {channels} channels and {filters} filters"
    if tiles <= LEAST_TILES and filters >= MANY and is_packed(weight):
        return f"the direct sum is faster with {tiles} tiles, for it keeps what it makes of a packed weight"
    if prod(pixels) < FILLED * tiles * TILE * TILE:
        return f"the direct sum is faster where {tiles} tiles are filled with {prod(pixels)} pixels"
    return None


def describe(x: Any, weight: Array, *arguments: Any, **parameters: Any) -> str:
    """What `explain` says of a convolution."""
    bound = error_bound(weight.dtype, weight.shape[1])
    return f"F(4x4, 3x3) ({machine.vectors().name}), error at most {bound:.1g} max|x| sum|w|, usually far less"


def describe_turned(shape: Shape, weight: Array, *arguments: Any, **parameters: Any) -> str:
    """What `explain` says of an input gradient: a convolution as well."""
    return describe(None, weight.swapaxes(0, 1)).replace("max|x|", "max|grad|")
