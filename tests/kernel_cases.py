"""What the kernels' tests share: numbers, memory formats, windows, and a call of any operator."""

from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from benchmarks.calls import draw, function
from upconv.kernels.op import OPERATORS

DTYPES = (np.float32, np.float64)
REPEATED = ("broadcast", "one channel")  # strides of 0
FORMATS = ("contiguous", "channels_last", "slice", "spread", "reversed", "turned", "unaligned", *REPEATED)

# One less than, equal to and one more than the vectors and the tiles of every instruction set.
EDGES = (2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33)


@contextmanager
def planned(*plans, **constants):
    """Plans made with other constants: of each module, by the last part of its name; plans: the functions that plan."""
    with pytest.MonkeyPatch.context() as patch:
        for module, values in constants.items():
            for name, value in values.items():
                patch.setattr(f"upconv.kernels.cpu.{module}.{name}", value)
        forget(plans)
        yield
    forget(plans)


def forget(plans):
    """Plan anew, calls of known shapes too."""
    for plan in plans:
        plan.cache_clear()
    for op in OPERATORS.values():
        op.known.clear()


def integers(rng, shape, dtype=np.float64):
    """Small integers: sums of their products are exact in any order."""
    return rng.integers(-4, 5, shape).astype(dtype)


def arranged(x, format):
    """`x` in memory of another format, read-only, amid NaN where there is room (REPEATED: its first values)."""
    if x.ndim in (1, 2, 3):  # numbers for each channel, a matrix, one image
        front, back = {1: (1, 2), 2: (0, 2), 3: (1, 0)}[x.ndim]
        y = arranged(x.reshape(*[1] * front, *x.shape, *[1] * back), format)
        return y[(0,) * front + (slice(None),) * x.ndim + (0,) * back]
    n, c, h, w = x.shape
    gap = np.nan if x.dtype.kind == "f" else 99
    if format == "contiguous":
        y = np.empty(x.shape, x.dtype)
    elif format == "channels_last":
        y = np.empty((n, h, w, c), x.dtype).transpose(0, 3, 1, 2)
    elif format == "slice":  # some of the channels of a wider buffer
        y = np.full((n, h, w, c + 5), gap, x.dtype).transpose(0, 3, 1, 2)[:, 2 : c + 2]
    elif format == "spread":  # channels-last, with room between pixels, rows and images
        y = np.full((n, h + 2, 2 * w + 1, c + 3), gap, x.dtype).transpose(0, 3, 1, 2)
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

    def sides(self, x, weight, y, bias, up_bias, activation=None) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
        """The six operators: name, arguments and, beside the geometry, parameters. bias: of y, up_bias: of x."""
        up = {"activation": activation, "output_padding": self.output_padding}
        return [
            ("conv2d", (x, weight, bias), {"activation": activation}),
            ("conv2d_input", (x.shape, weight, y), {}),
            ("conv2d_weight", (x, weight.shape, y), {}),
            ("conv_transpose2d", (y, weight, up_bias), up),
            ("conv_transpose2d_input", (y.shape, weight, x), {}),
            ("conv_transpose2d_weight", (y, weight.shape, x), {}),
        ]


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


def call(name, dtype=np.float32, size=12):
    """The arguments of a plain call of an operator, by name, on 40 channels of `size` pixels squared."""
    return draw(name, np.random.default_rng(size), dtype=dtype, shape=(2, 40, size, size), plain=True)


def several(result):
    """The results of a call, one or more, as a tuple."""
    return result if isinstance(result, tuple) else (result,)


def changed(value, how):
    """`how` of an array, of each array in a list; anything else as it is."""
    if isinstance(value, list):
        return [changed(each, how) for each in value]
    return how(value) if isinstance(value, np.ndarray) else value


def arrays(arguments):
    """Every array among the arguments of a call."""
    found = []
    for value in arguments.values():
        changed(value, found.append)
    return found


DIRECTIONS = 4  # of changes: in one alone they may cancel


def check_against_reference(name, arguments, results=None):
    """The call gives what the reference gives, to the last bit for integers and within a bound for the rest.

    results: what another device gave for it, in NumPy arrays.

    A stable algorithm gives nearly the exact result of nearly its input (Higham, "Accuracy and Stability of Numerical
    Algorithms" (2002), section 1.6): with t operations for each number of the result, the error is at most about t eps
    times the result's size and its sensitivity, which is measured, by relative changes of all inputs.
    """
    op = OPERATORS[name]
    case = op.rule(**arguments)
    if not any(prod(output.shape) for output in case.outputs):  # nothing to compute
        results = several(function(name)(**arguments)) if results is None else results
        assert [each.shape for each in results] == [each.given for each in case.outputs]
        return
    with np.errstate(all="ignore"):
        expected = several(op.reference(*case.arguments, **case.parameters))
        step, rng = 1e-6, np.random.default_rng(0)

        def moved(x):
            return x * (1 + step * rng.choice((-1.0, 1.0), x.shape)) if x.dtype.kind == "f" else x

        near = [
            several(op.reference(*(changed(each, moved) for each in case.arguments), **case.parameters))
            for _ in range(DIRECTIONS)
        ]
        elsewhere = results is not None
        results = results if elsewhere else several(function(name)(**arguments))
        assert len(results) == len(expected) == len(case.outputs)
        for result, exact, *others, output in zip(results, expected, *near, case.outputs, strict=True):
            assert (result.shape, result.dtype) == (output.given, output.dtype)
            exact, other = exact.reshape(result.shape), np.array(others).reshape(DIRECTIONS, *result.shape)
            if output.dtype.kind != "f":
                np.testing.assert_array_equal(result, exact)
                continue
            finite = np.isfinite(exact) & np.isfinite(other).all(0)
            size = abs(exact[finite]).max(initial=0) + abs(other - exact)[:, finite].max(initial=0) / step
            operations = 16 + case.flops // max(1, result.size)
            coarse = elsewhere and case.precision == "tf32" and output.dtype == np.float32
            eps = 2.0**-10 if coarse else np.finfo(output.dtype).eps
            np.testing.assert_allclose(result, exact, rtol=eps, atol=eps * operations * size)
