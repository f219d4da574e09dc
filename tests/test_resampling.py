"""Interpolation and its gradient against the reference, PyTorch's numbers, and what must hold exactly."""

import re

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, EDGES, FORMATS, arranged, integers, plane, same_bits

from upconv import kernels
from upconv.kernels.reference import resampling as reference

MODES = ("nearest", "bilinear", "bicubic")
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
dtypes, formats = st.sampled_from(DTYPES), st.sampled_from(FORMATS)
channels, pixels = (
    st.sampled_from((1, 2, 3, 4, 15, 16, 17, 33, 70)),
    st.one_of(st.integers(1, 9), st.sampled_from(EDGES)),
)
factors = st.one_of(st.sampled_from((0.5, 2.0, 3.0, 0.25, 4.0, 1.0, 1.1, 2.1, 1 / 3)), st.floats(0.05, 4.5))


@st.composite
def interpolations(draw):
    """(shape of x, keywords of the operator, keywords of the reference)."""
    shape = (draw(st.integers(1, 3)), draw(channels), draw(pixels), draw(pixels))
    mode = draw(st.sampled_from(MODES))
    options = {"mode": mode, "align_corners": mode != "nearest" and draw(st.booleans())}
    if draw(st.booleans()):
        size = draw(pixels), draw(pixels)
        return shape, options | {"size": size}, options | {"output_size": size, "scales": (None, None)}
    scales = draw(factors), draw(factors)
    size = tuple(int(length * scale) for length, scale in zip(shape[2:], scales, strict=True))
    assume(min(size) > 0)
    return shape, options | {"scale_factor": scales}, options | {"output_size": size, "scales": scales}


def matrices(shape, dtype, *, output_size, scales, mode, align_corners):
    """How often each input is a tap of each output, (outputs, inputs), on the axis of rows and on that of columns."""
    for inputs, outputs, scale in zip(shape[2:], output_size, scales, strict=True):
        index, _ = reference.taps(inputs, outputs, scale, mode, align_corners, np.dtype(dtype))
        matrix = np.zeros((outputs, inputs))
        np.add.at(matrix, (np.arange(outputs)[:, None], index), 1)
        yield matrix


def assert_close(actual, expected, rows, columns, x):
    """The difference is what rounding allows: of the sums, and of weights about 1."""
    assert (actual.shape, actual.dtype) == (expected.shape, x.dtype)
    terms = max(matrix.sum(axis=1).max() for matrix in (rows, columns))
    bound = np.finfo(x.dtype).eps * (2 * terms + 8) * (rows @ np.abs(x.astype(np.float64)) @ columns.T)
    assert (np.abs(actual - expected) <= bound).all()


CUBIC = {"mode": "bicubic", "align_corners": False}


@settings(max_examples=300)
@given(interpolations(), seeds, dtypes, formats)
@example(  # Keys' kernel at distances just below 2, where its sum cancels
    ((1, 1, 32, 33), CUBIC | {"size": (5, 1)}, CUBIC | {"output_size": (5, 1), "scales": (None, None)}),
    *(np.random.default_rng(1), np.float64, "contiguous"),
)
def test_interpolation_and_its_gradient(case, rng, dtype, format):
    shape, given, normal = case
    x = arranged(rng.standard_normal(shape).astype(dtype), format)
    rows, columns = matrices(shape, dtype, **normal)
    expected = reference.interpolate(x, **normal)
    y = kernels.interpolate(x, **given)
    assert_close(y, expected, rows, columns, x)
    if normal["mode"] == "nearest":
        same_bits(y, expected, dtype)
    grad = arranged(rng.standard_normal(y.shape).astype(dtype), format)
    given.pop("size", None)
    del normal["output_size"]
    dx = kernels.interpolate_input(shape, grad, **given)
    assert_close(dx, reference.interpolate_input(shape, grad, **normal), rows.T, columns.T, grad)


@settings(max_examples=200)
@given(
    st.sampled_from(MODES),
    st.tuples(st.integers(0, 2), channels, pixels, pixels),
    st.tuples(*[st.sampled_from((0.5, 1.0, 2.0, 4.0))] * 2),
    *(seeds, dtypes, formats),
)
def test_powers_of_two_are_exact(mode, shape, scales, rng, dtype, format):
    """Their weights are short, so small integers show every bit, and the adjoint identity holds exactly."""
    scales = np.minimum(scales, 2.0 if mode == "bicubic" else 4.0)
    assume(min(int(length * scale) for length, scale in zip(shape[2:], scales, strict=True)) > 0)
    normal = {"mode": mode, "scales": tuple(scales), "align_corners": False}
    x = arranged(integers(rng, shape, dtype), format)
    y = kernels.interpolate(x, scale_factor=tuple(scales), mode=mode)
    same_bits(y, reference.interpolate(x, output_size=y.shape[2:], **normal), dtype)
    grad = arranged(integers(rng, y.shape, dtype), format)
    dx = kernels.interpolate_input(shape, grad, scale_factor=tuple(scales), mode=mode)
    same_bits(dx, reference.interpolate_input(shape, grad, **normal), dtype)
    assert (y.astype(np.float64) * grad).sum() == (x * dx.astype(np.float64)).sum()


@pytest.mark.parametrize("format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("c", [1, 3, 16, 20])
@pytest.mark.parametrize(
    ("size", "to"),
    [((3, 700), (5, 1100)), ((4, 5000), (9, 9)), ((7, 3), (5, 2999)), ((2, 261), (1, 2)), ((3, 284), (2, 3))],
)
def test_rows_in_pieces_and_pieces_of_a_few_far_columns(c, size, to, format):
    rng = np.random.default_rng(0)
    x = arranged(integers(rng, (1, c, *size), np.float32), format)
    for mode in MODES:
        normal = {"mode": mode, "align_corners": False, "scales": (None, None)}
        rows, columns = matrices(x.shape, x.dtype, output_size=to, **normal)
        y = kernels.interpolate(x, size=to, mode=mode)
        assert_close(y, reference.interpolate(x, output_size=to, **normal), rows, columns, x)
        dx = kernels.interpolate_input(x.shape, y, mode=mode)
        assert_close(dx, reference.interpolate_input(x.shape, y, **normal), rows.T, columns.T, y)


# What PyTorch 2.13 gives for the squares of 0..11, 3 rows of 4
PYTORCH = [
    ({"size": (5, 3)}, [[0, 1, 4], [0, 1, 4], [16, 25, 36], [16, 25, 36], [64, 81, 100]]),
    ({"scale_factor": (1.4, 0.6)}, [[0, 1], [0, 1], [16, 25], [64, 81]]),
    ({"size": (2, 3), "mode": "bilinear"}, [[4.5, 9.5, 17.833333333333332], [54.5, 75.5, 99.83333333333333]]),
    (
        {"size": (4, 2), "mode": "bilinear", "align_corners": True},
        [[0, 9], [10.666666666666666, 35.666666666666664], [32, 73], [64, 121]],
    ),
    (
        {"scale_factor": (1.5, 0.7), "mode": "bilinear"},
        [
            [0.2142857142857143, 2.9285714285714284],
            [9.07142857142857, 17.499999999999996],
            [26.214285714285705, 42.26190476190475],
            [59.357142857142854, 83.02380952380952],
        ],
    ),
    ({"size": (2, 3), "mode": "bicubic", "align_corners": True}, [[0, 2.125, 9], [64, 90.125, 121]]),
    (
        {"scale_factor": (0.7, 1.3), "mode": "bicubic"},
        [
            [1.5887762753111137, 2.8145547064410232, 5.586516316976043, 9.82268613582855, 14.476969084946798],
            [47.62832123855949, 56.67922082615641, 70.43630552064765, 84.8983046740951, 98.38265638912924],
        ],
    ),
]


@pytest.mark.parametrize("algorithm", ["auto", "reference"])
@pytest.mark.parametrize(("options", "expected"), PYTORCH)
def test_numbers_of_pytorch(options, expected, algorithm):
    x = (np.arange(12.0) ** 2).reshape(1, 1, 3, 4)
    np.testing.assert_allclose(kernels.interpolate(x, **options, algorithm=algorithm)[0, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("algorithm", ["auto", "reference"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nearest_picks_the_pixels_of_pytorch(dtype, algorithm):
    """In float32 7 * (14 / 46) * ... falls just short of the integer that it is."""
    for inputs, outputs, at, pixel in ((14, 46, 23, 6), (26, 22, 11, 12), (39, 33, 22, 25), (62, 14, 7, 30)):
        x = np.arange(inputs, dtype=dtype)[None, None, None]
        y = kernels.interpolate(x, size=(1, outputs), algorithm=algorithm)
        assert y[0, 0, 0, at] == pixel == at * inputs // outputs - 1
    x = np.arange(5, dtype=dtype)[None, None, None]
    y = kernels.interpolate(x, scale_factor=(1, 1.15), algorithm=algorithm)  # the same size: a copy
    assert y.ravel().tolist() == [0, 1, 2, 3, 4]
    y = kernels.interpolate(x, scale_factor=(1, 2.15), algorithm=algorithm)
    assert y.ravel().tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_scale_factor_sets_the_step_and_a_size_the_ratio():
    x = np.arange(10.0)[None, None, None]
    by_factor = kernels.interpolate(x, scale_factor=(1, 0.35), mode="bilinear")
    by_size = kernels.interpolate(x, size=(1, 3), mode="bilinear")
    np.testing.assert_allclose(by_factor.ravel(), [(i + 0.5) / 0.35 - 0.5 for i in range(3)])
    np.testing.assert_allclose(by_size.ravel(), [(i + 0.5) * 10 / 3 - 0.5 for i in range(3)])
    grad = np.eye(3)[None, :, None]
    dx = kernels.interpolate_input((1, 3, 1, 10), grad, scale_factor=(1, 0.35), mode="bilinear")
    np.testing.assert_allclose(dx[0, :, 0] @ np.arange(10.0), by_factor.ravel())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_stays_and_so_does_a_map_of_the_same_size(mode, align_corners, dtype):
    align_corners = align_corners and mode != "nearest"
    x = np.full((1, 2, 5, 6), 3, dtype)
    y = kernels.interpolate(x, size=(11, 4), mode=mode, align_corners=align_corners)
    np.testing.assert_allclose(y, 3, rtol=8 * np.finfo(dtype).eps)
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6)).astype(dtype)
    same_bits(kernels.interpolate(x, size=(5, 6), mode=mode, align_corners=align_corners), x, dtype)
    same_bits(kernels.interpolate_input(x.shape, x, mode=mode, align_corners=align_corners), x, dtype)


def test_aligned_corners_keep_straight_lines_straight():
    x = np.add.outer(4 * np.arange(3.0), np.arange(5.0))[None, None]
    y = kernels.interpolate(x, size=(9, 17), mode="bilinear", align_corners=True)
    np.testing.assert_array_equal(y[0, 0], np.add.outer(np.arange(9.0), np.arange(17) / 4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nearest_by_an_integer_repeats_pixels_and_copies_every_bit(dtype):
    x = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-310, 1e-42, 3], dtype)
    x = np.broadcast_to(x[:, None, None], (2, 8, 3, 4)).copy()
    y = kernels.interpolate(x, scale_factor=(3, 5))
    expected = x.repeat(3, axis=2).repeat(5, axis=3)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(np.signbit(y), np.signbit(expected))


@pytest.mark.parametrize("c", [1, 20])
def test_bilinear_interpolation_is_a_transposed_convolution_inside(c):
    x = integers(np.random.default_rng(0), (2, c, 6, 5))
    y = kernels.interpolate(x, scale_factor=2, mode="bilinear")
    taps = np.array([1, 3, 3, 1]) / 4
    up = [kernels.conv_transpose2d(x[:, k : k + 1], np.outer(taps, taps)[None, None], stride=2) for k in range(c)]
    np.testing.assert_array_equal(y[..., 1:-1, 1:-1], np.concatenate(up, axis=1)[..., 2:-2, 2:-2])


@pytest.mark.parametrize("c", [1, 3, 20])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(6, 7), (11, 13), (3, 4), (1, 1)])
def test_infinity_and_nan_reach_what_they_are_a_tap_of(mode, size, c):
    """Also with the weight 0, as in PyTorch: 0 times infinity is NaN."""
    x = np.zeros((1, c, 6, 7))
    x[..., 2, 3], x[..., 5, 6], x[..., 0, 1] = np.inf, np.nan, -np.inf
    options = {"mode": mode, "align_corners": True}
    with np.errstate(invalid="ignore"):
        expected = reference.interpolate(x, output_size=size, scales=(None, None), **options)
    np.testing.assert_array_equal(np.isfinite(kernels.interpolate(x, size=size, **options)), np.isfinite(expected))
    np.testing.assert_array_equal(np.isnan(kernels.interpolate(x, size=size, **options)), np.isnan(expected))


def test_a_pixel_that_nothing_looks_at_has_the_gradient_0():
    dx = kernels.interpolate_input((1, 1, 2, 6), np.ones((1, 1, 1, 3)))
    assert dx[0, 0].tolist() == [[1, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 0]]
    assert not np.signbit(dx).any()


def test_empty_maps():
    for shape in ((0, 3, 4, 4), (2, 0, 4, 4)):
        y = kernels.interpolate(np.zeros(shape), scale_factor=2, mode="bicubic")
        assert y.shape == (*shape[:2], 8, 8)
        assert kernels.interpolate_input(shape, y, mode="bicubic").shape == shape


def test_the_result_has_the_format_of_the_map():
    x = np.zeros((2, 3, 4, 5), np.float32)
    assert kernels.interpolate(x, scale_factor=2).flags.c_contiguous
    assert kernels.interpolate_input(x.shape, x).flags.c_contiguous
    x = kernels.channels_last(x)
    assert kernels.interpolate(x, scale_factor=2).strides[1] == 4
    assert kernels.interpolate_input(x.shape, x).strides[1] == 4


X = plane(np.arange(12.0).reshape(3, 4))
NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "size or scale_factor must be given, one of them, got neither"),
        ({"size": 4, "scale_factor": 2}, ValueError, "size or scale_factor must be given, one of them, got both"),
        ({"size": 0}, ValueError, "size must be at least 1, got 0"),
        ({"size": (3, -1)}, ValueError, "size[1] must be at least 1, got -1"),
        ({"size": (3,)}, ValueError, "size must be an integer or a pair, got (3,)"),
        ({"size": 2.0}, TypeError, "size must be an integer or a pair, got 2.0"),
        ({"size": 2**31}, ValueError, "size must be at most 2147483647, got 2147483648"),
        *(
            ({"scale_factor": bad}, ValueError, f"scale_factor must be positive and finite, got {bad!r}")
            for bad in (0, 0.0, -1.5, NAN, INFINITY, -INFINITY, (1.0, NAN), [2, 0], 10**400)
        ),
        ({"scale_factor": (1, 2, 3)}, ValueError, "scale_factor must be a number or a pair, got (1, 2, 3)"),
        ({"scale_factor": True}, TypeError, "scale_factor must be a number or a pair, got bool"),
        ({"scale_factor": "2"}, TypeError, "scale_factor must be a number or a pair, got str"),
        ({"scale_factor": 1j}, TypeError, "scale_factor must be a number or a pair, got complex"),
        ({"scale_factor": (1, None)}, TypeError, "scale_factor must be a number or a pair, got NoneType"),
        *(
            ({"scale_factor": bad}, ValueError, "scale_factor must leave at least 1 and fewer than 2**31 rows")
            for bad in (0.3, (1, 0.2), 1e10, 1e308, 5e-324)
        ),
        (
            {"size": 4, "mode": "linear"},
            ValueError,
            "mode must be one of 'nearest', 'bilinear', 'bicubic', got 'linear'",
        ),
        ({"size": 4, "mode": None}, ValueError, "mode must be one of 'nearest', 'bilinear', 'bicubic', got None"),
        ({"size": 4, "align_corners": 1}, TypeError, "align_corners must be True or False, got 1"),
        ({"size": 4, "align_corners": True}, ValueError, "align_corners must be False with mode 'nearest'"),
    ],
)
def test_bad_options(options, error, message, traced):
    with pytest.raises(error, match=re.escape(f"interpolate: {message}")):
        kernels.interpolate(X, **options)
    if "size" not in options and "scale_factor" in options:
        with pytest.raises(error, match=re.escape(f"interpolate_input: {message}")):
            kernels.interpolate_input(X.shape, X, **options)
    assert not traced


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X[0], ValueError, "x must have the 4 axes NCHW, got shape (1, 3, 4)"),  # to PyTorch that is N, C, L
        (X.astype(int), TypeError, "x must be float32 or float64"),
        (X.tolist(), TypeError, "x must be a NumPy array, got list"),
        (X[:, :, :0], ValueError, "x must have at least one row and one column, got shape (1, 1, 0, 4)"),
        (X[..., :0], ValueError, "x must have at least one row and one column, got shape (1, 1, 3, 0)"),
    ],
)
def test_bad_maps(x, error, message, traced):
    with pytest.raises(error, match=re.escape(f"interpolate: {message}")):
        kernels.interpolate(x, size=4)
    assert not traced


@pytest.mark.parametrize(
    ("shape", "grad", "options", "error", "message"),
    [
        ((1, 1, 3), X, {}, ValueError, "input_shape must have the 4 axes NCHW, got (1, 1, 3)"),
        ((1, 1, 3, -1), X, {}, ValueError, "input_shape[3] must be at least 0, got -1"),
        ((1, 1, 0, 4), X, {}, ValueError, "input_shape must have at least one row and one column"),
        ((1, 2, 3, 4), X, {}, ValueError, "grad must have shape (1, 2, 3, 4), got (1, 1, 3, 4)"),
        ((2, 1, 3, 4), X, {}, ValueError, "grad must have shape (2, 1, 3, 4), got (1, 1, 3, 4)"),
        ((1, 1, 3, 4), X, {"scale_factor": 2}, ValueError, "grad must have shape (1, 1, 6, 8), got (1, 1, 3, 4)"),
        ((1, 1, 3, 4), X[:, :, :0], {}, ValueError, "grad must have at least one row and one column"),
        ((1, 1, 3, 4), X[0], {}, ValueError, "grad must have the 4 axes NCHW, got shape (1, 3, 4)"),
        (X, X, {}, TypeError, "input_shape must be a shape with the axes NCHW, got ndarray"),
        (X.shape, X, {"mode": "nearest", "align_corners": True}, ValueError, "align_corners must be False"),
    ],
)
def test_bad_gradients(shape, grad, options, error, message, traced):
    with pytest.raises(error, match=re.escape(f"interpolate_input: {message}")):
        kernels.interpolate_input(shape, grad, **options)
    assert not traced
