"""What the kernels' tests share: numbers, memory formats, windows, and one call of every operator."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from upconv import kernels

DTYPES = (np.float32, np.float64)
REPEATED = ("broadcast", "one channel")  # strides of 0
FORMATS = ("contiguous", "channels_last", "slice", "spread", "reversed", "turned", "unaligned", *REPEATED)

# One less than, equal to and one more than the vectors and the tiles of every instruction set.
EDGES = (2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33)


def integers(rng, shape, dtype=np.float64):
    """Small integers: sums of their products are exact in any order."""
    return rng.integers(-4, 5, shape).astype(dtype)


def arranged(x, format):
    """`x` in memory of another format, read-only, amid NaN where there is room (REPEATED: its first values)."""
    n, c, h, w = x.shape
    if format == "contiguous":
        y = np.empty(x.shape, x.dtype)
    elif format == "channels_last":
        y = np.empty((n, h, w, c), x.dtype).transpose(0, 3, 1, 2)
    elif format == "slice":  # some of the channels of a wider buffer
        y = np.full((n, h, w, c + 5), np.nan, x.dtype).transpose(0, 3, 1, 2)[:, 2 : c + 2]
    elif format == "spread":  # channels-last, with room between pixels, rows and images
        y = np.full((n, h + 2, 2 * w + 1, c + 3), np.nan, x.dtype).transpose(0, 3, 1, 2)
        y = y[:, 1 : c + 1, 1 : h + 1, 1 : 2 * w : 2]
    elif format == "reversed":  # negative strides
        y = np.empty((n, h, w, c), x.dtype).transpose(0, 3, 1, 2)[::-1, :, ::-1, ::-1]
    elif format == "turned":
        y = np.empty((w, c, h, n), x.dtype).transpose(3, 1, 2, 0)
    elif format == "unaligned":
        y = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    elif format == "broadcast":  # the first column of the first image
        return np.broadcast_to(arranged(x[:1, :, :, :1], "channels_last"), x.shape)
    elif format == "one channel":
        return np.broadcast_to(x[:, :1].copy(), x.shape)
    y[...] = x
    y.flags.writeable = False
    return y


def same_bits(actual, expected, dtype, what=""):
    """`actual` is of `dtype` and has the values of `expected`, a float64 result of the reference."""
    assert (actual.shape, actual.dtype) == (expected.shape, dtype), what
    np.testing.assert_array_equal(actual, expected.astype(dtype), err_msg=what)


def plane(rows, dtype=np.float64):
    """One image with one channel."""
    return np.array(rows, dtype)[None, None]


def shortened(geometry):
    """The same arguments as a user writes them: one number for a pair of equal ones."""

    def one(pair):
        return pair[0] if pair[0] == pair[1] and isinstance(pair[0], int) else pair

    short = {name: one(value) if isinstance(value, tuple) else value for name, value in geometry.items()}
    return short | {"padding": one(tuple(one(sides) for sides in geometry["padding"]))}


@dataclass(frozen=True)
class Convolution:
    """A convolution x -> y. The transposed one takes y to x with `output_padding`."""

    x_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def geometry(self) -> dict[str, Any]:
        """The arguments that both the reference and the operators take."""
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}

    def _free(self, axis: int) -> int:
        extent = self.dilation[axis] * (self.weight_shape[2 + axis] - 1) + 1
        return self.x_shape[2 + axis] + sum(self.padding[axis]) - extent

    @property
    def y_shape(self) -> tuple[int, ...]:
        """(N, K, Ho, Wo)."""
        rows, columns = (self._free(axis) // self.stride[axis] + 1 for axis in (0, 1))
        return self.x_shape[0], self.weight_shape[0], rows, columns

    @property
    def output_padding(self) -> tuple[int, int]:
        """Rows and columns of x that no window reaches."""
        return self._free(0) % self.stride[0], self._free(1) % self.stride[1]


@st.composite
def convolutions(draw, largest=5):
    """Convolutions whose window fits the padded map; their numbers of channels and pixels lie around tiles' edges."""
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    few = st.one_of(st.integers(1, 5), st.sampled_from(EDGES)) if groups == 1 else st.integers(1, 5)
    kernel = draw(st.sampled_from(((1, 1), (3, 3), (2, 2), (1, 3), (3, 1), (4, 5))))
    small = st.integers(1, 3)
    stride, dilation = ((draw(small), draw(small)) for _ in range(2))
    padding = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(2))
    more, row = st.integers(0, largest), st.sampled_from((10, 11, 12, 22, 23, 24))
    spare = draw(st.one_of(st.tuples(more, more), st.tuples(st.just(0), row)))
    size = [max(1, dilation[a] * (kernel[a] - 1) + 1 - sum(padding[a])) + spare[a] for a in (0, 1)]
    ins, outs = draw(few), draw(few)
    x_shape, weight_shape = (draw(small), groups * ins, *size), (groups * outs, ins, *kernel)
    return Convolution(x_shape, weight_shape, stride, padding, dilation, groups)


def calls(dtype=np.float32, size=12):
    """One call of every operator, as (function, arguments, keywords), on maps of `size` pixels squared."""
    rng = np.random.default_rng(size)

    def real(*shape):
        return rng.standard_normal(shape).astype(dtype)

    half = size // 2
    x, weight, y = real(2, 40, size, size), real(33, 40, 3, 3), real(2, 33, size, size)
    small, up = real(2, 40, half, half), real(40, 33, 2, 2)
    labels = rng.integers(0, 40, (2, size, size))
    pooled, offsets = kernels.max_pool2d_offsets(x, 2)
    _, indices = kernels.max_pool2d(x, 2, return_indices=True)
    pad, two = {"padding": 1}, {"stride": 2}
    return {
        "conv2d": (kernels.conv2d, (x, weight, real(33)), pad),
        "conv2d_input": (kernels.conv2d_input, (x.shape, weight, y), pad),
        "conv2d_weight": (kernels.conv2d_weight, (x, weight.shape, y), pad),
        "conv_transpose2d": (kernels.conv_transpose2d, (small, up, real(33)), two),
        "conv_transpose2d_input": (kernels.conv_transpose2d_input, (small.shape, up, y), two),
        "conv_transpose2d_weight": (kernels.conv_transpose2d_weight, (small, up.shape, y), two),
        "channel_sum": (kernels.channel_sum, (x,), {}),
        "max_pool2d": (kernels.max_pool2d, (x, 2), {"return_indices": True}),
        "max_pool2d_offsets": (kernels.max_pool2d_offsets, (x, 2), {}),
        "max_pool2d_indices": (kernels.max_pool2d_indices, (x.shape, offsets, 2), {}),
        "max_pool2d_input": (kernels.max_pool2d_input, (x.shape, offsets, pooled, 2), {}),
        "max_unpool2d": (kernels.max_unpool2d, (pooled, indices, 2), {}),
        "max_unpool2d_input": (kernels.max_unpool2d_input, (x, indices), {}),
        "relu": (kernels.relu, (x,), {}),
        "relu_input": (kernels.relu_input, (x, x), {}),
        "bias_relu_input": (kernels.bias_relu_input, (x, x), {}),
        "add": (kernels.add, (x, x), {}),
        "softmax": (kernels.softmax, (x,), {}),
        "softmax_input": (kernels.softmax_input, (kernels.softmax(x), x), {}),
        "cross_entropy": (kernels.cross_entropy, (x, labels), {}),
        "cross_entropy_input": (kernels.cross_entropy_input, (x, labels), {}),
        "concatenate": (kernels.concatenate, ([x, x],), {}),
    }
