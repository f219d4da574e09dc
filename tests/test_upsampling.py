"""Transposed convolution three ways, bilinear kernels, overlaps: the lectures' examples and drawn ones."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, FORMATS, arranged, convolutions, integers, same_bits, shortened

from upconv import kernels

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
BILINEAR = np.array([[[[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]]]])


def by_zeros(x, weight, *, stride, padding, dilation, groups, output_padding):
    """The transposed convolution by zero insertion, then convolution with the turned kernel."""
    ins, outs = weight.shape[0] // groups, weight.shape[1]
    turned = weight.reshape(groups, ins, outs, *weight.shape[2:]).swapaxes(1, 2)[..., ::-1, ::-1]
    turned = turned.reshape(groups * outs, ins, *weight.shape[2:])
    inserted = kernels.zero_insert2d(x, stride)
    full = [dilation[axis] * (weight.shape[2 + axis] - 1) for axis in (0, 1)]
    around = [(0, 0), (0, 0), *((full[axis], full[axis] + output_padding[axis]) for axis in (0, 1))]
    (top, bottom), (left, right) = padding
    padded = np.pad(inserted, around)
    padded = padded[:, :, top : padded.shape[2] - bottom, left : padded.shape[3] - right]
    return kernels.conv2d(padded, turned, dilation=dilation, groups=groups, algorithm="direct")


@settings(max_examples=150)
@given(convolutions(), seeds, st.sampled_from(DTYPES))
def test_the_three_forms_are_equal(case, rng, dtype):
    """By phases, by zero insertion and by the transposed matrix of the convolution."""
    pytest.importorskip("scipy")
    y, weight = integers(rng, case.y_shape, dtype), integers(rng, case.weight_shape, dtype)
    given, geometry = shortened(case.geometry), case.geometry
    expected = kernels.conv_transpose2d(y, weight, output_padding=case.output_padding, **given)
    assert expected.shape == case.x_shape
    np.testing.assert_array_equal(by_zeros(y, weight, output_padding=case.output_padding, **geometry), expected)
    matrix = kernels.convolution_matrix(weight, case.x_shape[1:], **given)
    assert matrix.dtype == dtype
    for image, result in zip(y, expected, strict=True):
        np.testing.assert_array_equal(matrix.T @ image.ravel(), result.ravel())
    x = integers(rng, case.x_shape, dtype)
    y = kernels.conv2d(x, weight, **given, algorithm="direct")
    np.testing.assert_array_equal(matrix @ x[0].ravel(), y[0].ravel())


def test_the_worked_example():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    rows, columns = np.mgrid[:7, :7]
    y = kernels.conv_transpose2d(x, BILINEAR, stride=2, padding=1)
    np.testing.assert_array_equal(y[0, 0], 2.0 * rows + columns / 2)
    whole = np.zeros((9, 9))
    for i in range(4):
        for j in range(4):
            whole[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += x[0, 0, i, j] * BILINEAR[0, 0]
    np.testing.assert_array_equal(kernels.conv_transpose2d(x, BILINEAR, stride=2)[0, 0], whole)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 8, (2, 3), (1, 4)])
def test_bilinear_kernels_interpolate(stride):
    """Away from the border the enlargement is linear interpolation between pixel centres: exact for a plane."""
    rows, columns = stride if isinstance(stride, tuple) else (stride, stride)
    kernel = kernels.bilinear_kernel(stride, dtype=np.float64)
    assert kernel.shape == (2 * rows - rows % 2, 2 * columns - columns % 2)
    i, j = np.mgrid[:6, :7].astype(float)
    padding = tuple(-((s - k) // 2) for s, k in zip((rows, columns), kernel.shape, strict=True))
    y = kernels.conv_transpose2d((3 * i - 2 * j)[None, None], kernel[None, None], stride=stride, padding=padding)
    p, q = np.mgrid[: y.shape[2], : y.shape[3]].astype(float)
    centre = [(k - 1) / 2 - pad for k, pad in zip(kernel.shape, padding, strict=True)]
    expected = 3 * (p - centre[0]) / rows - 2 * (q - centre[1]) / columns
    inner = np.s_[2 * rows : -2 * rows, 2 * columns : -2 * columns]
    assert y[0, 0][inner].size
    np.testing.assert_allclose(y[0, 0][inner], expected[inner], atol=1e-12)
    np.testing.assert_allclose(kernel.sum(), rows * columns, atol=1e-12)


def test_bilinear_kernels_of_the_paper():
    """upsample_filt of Long et al.'s published code."""
    for size, stride in ((4, 2), (16, 8), (64, 32), (3, 2)):
        if size != 2 * stride - stride % 2:
            continue
        factor = (size + 1) // 2
        middle = factor - 1 if size % 2 else factor - 0.5
        u, v = np.ogrid[:size, :size]
        expected = (1 - abs(u - middle) / factor) * (1 - abs(v - middle) / factor)
        np.testing.assert_array_equal(kernels.bilinear_kernel(stride, dtype=np.float64), expected)
    assert kernels.bilinear_kernel(4).dtype == np.float32


@settings(max_examples=100)
@given(convolutions())
def test_overlap_counts(case):
    """The transposed convolution of ones with a kernel of ones counts them."""
    size, kernel = case.y_shape[2:], case.weight_shape[2:]
    given = {name: value for name, value in shortened(case.geometry).items() if name != "groups"}
    counts = kernels.overlap_counts(size, kernel, output_padding=case.output_padding, **given)
    ones = kernels.conv_transpose2d(
        np.ones((1, 1, *size)), np.ones((1, 1, *kernel)), output_padding=case.output_padding, **given
    )
    same_bits(counts, ones[0, 0], np.int64)


def test_overlaps_are_even_where_the_kernel_is_a_multiple_of_the_stride():
    inner = np.s_[8:-8, 8:-8]
    assert np.ptp(kernels.overlap_counts(12, 4, stride=2)[inner]) == 0
    assert np.ptp(kernels.overlap_counts(12, 3, stride=2)[inner]) == 3


@settings(max_examples=60)
@given(
    st.tuples(st.integers(0, 2), *(st.integers(0, 4),) * 3),
    *(st.integers(1, 3), st.integers(1, 3), seeds, st.sampled_from(DTYPES), st.sampled_from(FORMATS)),
)
def test_zero_insertion(shape, rows, columns, rng, dtype, format):
    x = arranged(integers(rng, shape, dtype), format)
    y = kernels.zero_insert2d(x, (rows, columns))
    n, c, h, w = shape
    expected = np.zeros((n, c, h * rows, w * columns))
    expected[:, :, ::rows, ::columns] = x
    same_bits(y, expected[:, :, : max((h - 1) * rows + 1, 0), : max((w - 1) * columns + 1, 0)], dtype)
    assert y.flags.c_contiguous == (x.flags.c_contiguous and c > 1) or c <= 1 or not y.size or min(y.shape) == 1
    if n:
        same_bits(kernels.zero_insert2d(x[0], (rows, columns)), y[0], dtype)


X, W = np.ones((1, 2, 3, 3)), np.ones((2, 2, 2, 2))
BAD = [
    ("zero_insert2d", (None, 2), {}, TypeError, "x must be a NumPy array, got None"),
    ("zero_insert2d", (X, 0), {}, ValueError, "stride must be at least 1, got 0"),
    ("zero_insert2d", (X, 2**30), {}, ValueError, "the result must have fewer than 2**31 rows and columns"),
    ("convolution_matrix", (W, (3, 3, 3)), {}, ValueError, "weight must be (out, in / groups, kh, kw) for 3 input"),
    ("convolution_matrix", (W, (2, 1, 3)), {}, ValueError, "weight.shape[2:] with its dilation covers (2, 2) pixels"),
    ("convolution_matrix", (W, 5), {}, TypeError, "input_shape must be a shape with the axes CHW, got 5"),
    ("bilinear_kernel", (0,), {}, ValueError, "stride must be at least 1, got 0"),
    ("bilinear_kernel", (1.5,), {}, TypeError, "stride must be an integer or a pair, got 1.5"),
    ("bilinear_kernel", (2,), {"dtype": int}, TypeError, "dtype must be float32 or float64, got"),
    ("overlap_counts", (3, 0), {}, ValueError, "kernel_size must be at least 1, got 0"),
    ("overlap_counts", (3, 2), {"output_padding": 1}, ValueError, "output_padding must be below max(stride, dilation)"),
    ("overlap_counts", (1, 1), {"padding": 1}, ValueError, "padding ((1, 1), (1, 1)) crops all of the result"),
]


@pytest.mark.parametrize(("name", "arguments", "more", "error", "message"), BAD)
def test_bad_input(name, arguments, more, error, message):
    with pytest.raises(error) as caught:
        getattr(kernels, name)(*arguments, **more)
    assert str(caught.value).startswith(f"{name}: {message}")


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(ImportError, match=r"this needs scipy, which is not installed: pip install 'upconv\[matrix\]'"):
        kernels.convolution_matrix(W, (2, 3, 3))
