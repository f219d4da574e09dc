"""The oracle itself: independent, right on the worked examples, and each gradient the exact adjoint of its operator."""

import ast
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upconv.kernels import reference

BILINEAR = np.array([[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]])[None, None]


def window(stride=1, padding=0, dilation=1, groups=1):
    """The normalised arguments of a convolution."""
    sides = ((padding, padding), (padding, padding))
    return {"stride": (stride, stride), "padding": sides, "dilation": (dilation, dilation), "groups": groups}


def conv2d(x, weight, bias=None, activation=None, **geometry):
    return reference.conv2d(x, weight, bias, activation=activation, **geometry)


def conv_transpose2d(x, weight, bias=None, output_padding=(0, 0), activation=None, **geometry):
    return reference.conv_transpose2d(x, weight, bias, output_padding=output_padding, activation=activation, **geometry)


def pooling(padding=0):
    """The normalised arguments of a 2x2 pooling with stride 2."""
    sides = ((padding, padding), (padding, padding))
    return {"kernel_size": (2, 2), "stride": (2, 2), "padding": sides, "dilation": (1, 1)}


def max_pool2d(x, output_size, padding=0):
    return reference.max_pool2d(x, output_size=output_size, **pooling(padding))


def plane(rows):
    return np.array(rows, dtype=np.float64)[None, None]


def integers(rng, shape):
    """Small integers as float64: sums of their products are exact."""
    return rng.integers(-4, 5, shape).astype(np.float64)


def gather(x, indices):
    """x at flat indices of its planes."""
    n, c, h, w = x.shape
    return np.take_along_axis(x.reshape(n, c, h * w), indices.reshape(n, c, -1), axis=2).reshape(indices.shape)


def dot(a, b):
    assert a.shape == b.shape
    return float((a * b).sum())


@st.composite
def convolutions(draw, output_padding=False):
    """(rng, x shape, OIHW weight shape, geometry) of a convolution whose window fits its padded input."""
    small = st.integers(1, 3)
    groups, ins, outs, batch = draw(small), draw(small), draw(small), draw(small)
    kernel, stride, dilation = ((draw(small), draw(small)) for _ in range(3))
    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(2))
    least = [max(1, dilation[a] * (kernel[a] - 1) + 1 - sum(padding[a])) for a in (0, 1)]
    size = [least[a] + draw(st.integers(0, 5)) for a in (0, 1)]
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng, (batch, groups * ins, *size), (groups * outs, ins, *kernel), geometry


@st.composite
def poolings(draw):
    """(rng, x shape, output size, geometry) of a pooling; the last window starts in the plane, as with ceil_mode."""
    axes = []
    for _ in range(2):
        kernel, stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        size, before = dilation + draw(st.integers(0, 5)), draw(st.integers(0, kernel // 2))
        windows = draw(st.integers(1, (size + before - 1) // stride + 1))
        axes.append((size, windows, kernel, stride, (before, before), dilation))
    size, windows, *geometry = zip(*axes, strict=True)
    names = ("kernel_size", "stride", "padding", "dilation")
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng, (2, 3, *size), windows, dict(zip(names, geometry, strict=True))


def as_transposed(x_shape, weight_shape, geometry):
    """The transposed convolution from conv2d's output back to x_shape: (its input's shape, its output_padding)."""
    positions, extra = [], []
    for size, k, s, d, sides in zip(
        x_shape[2:], weight_shape[2:], geometry["stride"], geometry["dilation"], geometry["padding"], strict=True
    ):
        steps, rest = divmod(size + sum(sides) - d * (k - 1) - 1, s)
        positions.append(steps + 1)
        extra.append(rest)
    return (x_shape[0], weight_shape[0], *positions), tuple(extra)


def test_reference_imports_numpy_only():
    for path in Path(reference.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        inside = [node for node in imports if isinstance(node, ast.ImportFrom) and node.level == 1]
        assert {ast.unparse(node) for node in imports if node not in inside} <= {"import numpy as np"}, path


# The worked examples of the lectures.


def test_transposed_convolution_is_the_running_sum_of_shifted_kernels():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    canvas = np.zeros((9, 9))
    for i, j in product(range(4), range(4)):
        canvas[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += x[0, 0, i, j] * BILINEAR[0, 0]
    np.testing.assert_array_equal(conv_transpose2d(x, BILINEAR, **window(stride=2))[0, 0], canvas)


def test_transposed_convolution_cropped_is_bilinear_interpolation():
    y = conv_transpose2d(np.arange(16.0).reshape(1, 1, 4, 4), BILINEAR, **window(stride=2, padding=1))
    expected = 2.0 * np.arange(7)[:, None] + np.arange(7) / 2
    assert expected[3].tolist() == [6, 6.5, 7, 7.5, 8, 8.5, 9]
    np.testing.assert_array_equal(y[0, 0], expected)


def test_max_pool_remembers_and_unpool_puts_back():
    y, indices, offsets = max_pool2d(plane([[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]), (2, 2))
    assert y[0, 0].tolist() == [[5, 6], [7, 8]]
    assert indices[0, 0].tolist() == [[5, 2], [12, 15]]
    assert offsets[0, 0].tolist() == [[3, 0], [2, 3]]
    unpooled = reference.max_unpool2d(plane([[1, 2], [3, 4]]), indices, output_size=(4, 4))
    assert unpooled[0, 0].tolist() == [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]
    y, _, _ = max_pool2d(plane([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]), (2, 2))
    assert y[0, 0].tolist() == [[6, 8], [3, 4]]


def test_mean_filter():
    image = np.zeros((1, 1, 10, 10))
    image[..., 2:7, 3:8] = 90
    image[..., 5, 4] = 0
    image[..., 8, 2] = 90
    mean = conv2d(image, np.ones((1, 1, 3, 3)), **window())[0, 0] / 9  # 1/9 itself is not exact
    assert mean.shape == (8, 8)
    assert mean[0].tolist() == [0, 10, 20, 30, 30, 30, 20, 10]
    assert mean[3].tolist() == [0, 30, 50, 80, 80, 90, 60, 30]


def test_shapes_and_weight_counts_of_the_lectures():
    image = np.zeros((1, 3, 32, 32))
    y = conv2d(image, np.zeros((6, 3, 5, 5)), np.zeros(6), **window())
    assert y.shape == (1, 6, 28, 28)
    assert conv2d(np.zeros((1, 64, 56, 56)), np.zeros((32, 64, 1, 1)), **window()).shape == (1, 32, 56, 56)
    one = y[:, :1]
    weights = reference.conv2d_weight(image, (1, 3, 5, 5), one, **window()).size
    assert (weights, weights + reference.channel_sum(one).size) == (75, 76)


# Definitions, written out once more.


@settings(max_examples=30, deadline=None)
@given(convolutions())
def test_conv2d_is_its_definition(case):
    rng, x_shape, weight_shape, geometry = case
    x, weight, bias = integers(rng, x_shape), integers(rng, weight_shape), integers(rng, weight_shape[0])
    (sh, sw), (dh, dw) = geometry["stride"], geometry["dilation"]
    (top, _), (left, _) = geometry["padding"]
    channels, height, width = x_shape[1:]
    y = conv2d(x, weight, bias, "relu", **geometry)
    n, o, i, j = (rng.integers(0, size) for size in y.shape)
    total = bias[o]
    for c, u, v in np.ndindex(weight_shape[1:]):
        row, column = i * sh + u * dh - top, j * sw + v * dw - left
        channel = o * geometry["groups"] // weight_shape[0] * weight_shape[1] + c
        assert channel < channels
        if 0 <= row < height and 0 <= column < width:
            total += weight[o, c, u, v] * x[n, channel, row, column]
    assert y[n, o, i, j] == max(total, 0)


@settings(max_examples=60, deadline=None)
@given(poolings())
def test_max_pool2d_is_its_definition(case):
    rng, x_shape, output_size, geometry = case
    x = integers(rng, x_shape)
    y, indices, offsets = reference.max_pool2d(x, output_size=output_size, **geometry)
    n, c, i, j = (rng.integers(0, size) for size in y.shape)
    (kh, kw), (sh, sw), (dh, dw) = geometry["kernel_size"], geometry["stride"], geometry["dilation"]
    (top, _), (left, _) = geometry["padding"]
    members = []
    for u, v in product(range(kh), range(kw)):
        row, column = i * sh + u * dh - top, j * sw + v * dw - left
        if 0 <= row < x_shape[2] and 0 <= column < x_shape[3]:
            members.append((x[n, c, row, column], row * x_shape[3] + column, u * kw + v))
    winner = max(members, key=lambda member: member[0])  # the first of equals
    assert (y[n, c, i, j], indices[n, c, i, j], offsets[n, c, i, j]) == winner


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_transposed_convolution_three_ways(case):
    rng, y_shape, weight_shape, geometry = case
    x_shape, output_padding = as_transposed(y_shape, weight_shape, geometry)
    x, weight = integers(rng, x_shape), integers(rng, weight_shape)
    scattered = conv_transpose2d(x, weight, output_padding=output_padding, **geometry)
    assert scattered.shape == y_shape

    # Zeros between the pixels and around them, then an ordinary convolution with the kernels turned by 180 degrees.
    groups, (sh, sw), (dh, dw) = geometry["groups"], geometry["stride"], geometry["dilation"]
    n, c, h, w = x_shape
    kh, kw = weight_shape[2:]
    above, before = dh * (kh - 1), dw * (kw - 1)
    below, after = above + output_padding[0], before + output_padding[1]
    spread = np.zeros((n, c, above + (h - 1) * sh + 1 + below, before + (w - 1) * sw + 1 + after))
    spread[:, :, above : above + (h - 1) * sh + 1 : sh, before : before + (w - 1) * sw + 1 : sw] = x
    grouped = weight.reshape(groups, c // groups, *weight_shape[1:])
    turned = grouped.swapaxes(1, 2)[..., ::-1, ::-1].reshape(y_shape[1], c // groups, kh, kw)
    full = conv2d(spread, turned, **(geometry | {"stride": (1, 1), "padding": ((0, 0), (0, 0))}))
    (top, bottom), (left, right) = geometry["padding"]
    cropped = full[:, :, top : full.shape[2] - bottom, left : full.shape[3] - right]
    np.testing.assert_array_equal(scattered, cropped)

    # The transpose of the matrix of the convolution: row p of `matrix` is what the p-th unit image turns into.
    pixels = int(np.prod(y_shape[1:]))
    matrix = conv2d(np.eye(pixels).reshape(pixels, *y_shape[1:]), weight, **geometry).reshape(pixels, -1)
    np.testing.assert_array_equal(scattered, (x.reshape(n, -1) @ matrix.T).reshape(y_shape))


# Adjoint identities: <A x, y> = <x, A' y>.


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_adjoints_of_conv2d(case):
    rng, x_shape, weight_shape, geometry = case
    x, weight = integers(rng, x_shape), integers(rng, weight_shape)
    y = conv2d(x, weight, **geometry)
    grad = integers(rng, y.shape)
    expected = dot(y, grad)
    assert dot(x, reference.conv2d_input(x_shape, weight, grad, **geometry)) == expected
    assert dot(weight, reference.conv2d_weight(x, weight_shape, grad, **geometry)) == expected


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_adjoints_of_conv_transpose2d(case):
    rng, y_shape, weight_shape, geometry = case
    x_shape, output_padding = as_transposed(y_shape, weight_shape, geometry)
    x, weight, grad = integers(rng, x_shape), integers(rng, weight_shape), integers(rng, y_shape)
    expected = dot(conv_transpose2d(x, weight, output_padding=output_padding, **geometry), grad)
    assert dot(x, reference.conv_transpose2d_input(x_shape, weight, grad, **geometry)) == expected
    assert dot(weight, reference.conv_transpose2d_weight(x, weight_shape, grad, **geometry)) == expected


@settings(max_examples=60, deadline=None)
@given(poolings())
def test_adjoint_of_max_pool2d(case):
    rng, x_shape, output_size, geometry = case
    x, other = integers(rng, x_shape), integers(rng, x_shape)
    y, indices, offsets = reference.max_pool2d(x, output_size=output_size, **geometry)
    np.testing.assert_array_equal(gather(x, indices), y)
    grad = integers(rng, y.shape)
    dx = reference.max_pool2d_input(x_shape, offsets.astype(np.uint8), grad, **geometry)
    assert dot(gather(other, indices), grad) == dot(other, dx)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
def test_adjoint_of_max_unpool2d_with_duplicates(seed, height, width):
    rng = np.random.default_rng(seed)
    x, grad = integers(rng, (2, 3, height, width)), integers(rng, (2, 3, 4, 5))
    indices = rng.integers(0, 20, x.shape)
    y = reference.max_unpool2d(x, indices, output_size=(4, 5))
    assert dot(y, grad) == dot(x, reference.max_unpool2d_input(grad, indices))


# Edges.


def test_pixels_that_no_window_reaches_have_no_gradient():
    dx = reference.conv2d_input((1, 1, 5, 5), np.ones((1, 1, 1, 1)), np.ones((1, 1, 2, 2)), **window(stride=3))
    assert np.argwhere(dx[0, 0]).tolist() == [[0, 0], [0, 3], [3, 0], [3, 3]]


def test_bias_reaches_where_no_kernel_does_and_relu_comes_last():
    geometry = window(stride=3)
    y = conv_transpose2d(plane([[-7, 1]]), np.ones((1, 1, 1, 1)), np.array([2.0]), (0, 1), "relu", **geometry)
    assert y[0, 0].tolist() == [[0, 2, 2, 3, 2]]


def test_max_pool_ties_nan_and_padding():
    nan, inf = np.nan, np.inf
    x = plane([[2, 2, nan, 9], [2, 1, 9, nan], [-inf, -inf, -1, -1], [-inf, -inf, -1, -2]])
    y, indices, offsets = max_pool2d(x, (2, 2))
    np.testing.assert_array_equal(y[0, 0], [[2, nan], [-inf, -1]])
    assert indices[0, 0].tolist() == [[0, 2], [8, 10]]
    assert not offsets.any()
    _, indices, offsets = max_pool2d(np.full((1, 1, 2, 2), -inf), (2, 2), padding=1)
    assert indices[0, 0].tolist() == [[0, 1], [2, 3]]  # padding is -inf too, and never wins
    assert offsets[0, 0].tolist() == [[3, 2], [1, 0]]


def test_max_pool_refuses_a_window_without_a_pixel():
    geometry = pooling(padding=1) | {"dilation": (3, 3)}  # rows -1 and 2 of a plane that has rows 0 and 1
    with pytest.raises(ValueError, match="a window holds no pixel of the 2x2 plane"):
        reference.max_pool2d(np.ones((1, 1, 2, 2)), output_size=(1, 1), **geometry)


def test_unpool_duplicates_and_bad_indices():
    x, indices = plane([[1, 2], [3, 4]]), np.array([[[[0, 1], [1, 0]]]])
    assert reference.max_unpool2d(x, indices, output_size=(1, 3))[0, 0].tolist() == [[4, 3, 0]]
    assert reference.max_unpool2d_input(plane([[5, 6, 7]]), indices)[0, 0].tolist() == [[0, 0], [6, 5]]
    for bad in (-1, 3):
        with pytest.raises(IndexError, match=r"max_unpool2d: indices must lie in 0\.\.2"):
            reference.max_unpool2d(x, np.full_like(indices, bad), output_size=(1, 3))
        with pytest.raises(IndexError, match=r"max_unpool2d_input: indices must lie in 0\.\.2"):
            reference.max_unpool2d_input(np.zeros((1, 1, 1, 3)), np.full_like(indices, bad))


def test_relu_and_its_gradient():
    y = reference.relu(np.array([-1, 0, 2, np.nan]))
    np.testing.assert_array_equal(y, [0, 0, 2, np.nan])
    np.testing.assert_array_equal(reference.relu_input(y, np.array([5, 6, 7, 8])), [0, 0, 7, 8])


def test_softmax_is_stable():
    x = np.array([1000.0, 1000.0, -1000.0]).reshape(1, 3, 1, 1)
    np.testing.assert_array_equal(reference.softmax(x).ravel(), [0.5, 0.5, 0])
    loss = reference.cross_entropy(x, np.full((1, 1, 1), 2), ignore_index=-100, reduction="sum")
    np.testing.assert_allclose(loss, 2000 + np.log(2), rtol=1e-15)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64])
def test_cross_entropy_and_its_gradient(reduction, dtype):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((2, 3, 2, 2)), rng.integers(0, 3, (2, 2, 2)).astype(dtype)
    labels[0, 1] = 255
    arguments = {"ignore_index": 255, "reduction": reduction}
    probability = reference.softmax(logits)
    losses = [-np.log(probability[n, labels[n, i, j], i, j]) for n, i, j in np.argwhere(labels != 255)]
    loss = reference.cross_entropy(logits, labels, **arguments)
    np.testing.assert_allclose(loss, np.mean(losses) if reduction == "mean" else np.sum(losses), rtol=1e-14)
    gradient = reference.cross_entropy_input(logits, labels, **arguments)
    assert not gradient[0, :, 1].any()
    for place in np.ndindex(logits.shape):
        step = np.zeros(logits.shape)
        step[place] = 1e-5
        ahead, behind = (reference.cross_entropy(logits + h, labels, **arguments) for h in (step, -step))
        np.testing.assert_allclose(gradient[place], (ahead - behind) / 2e-5, atol=1e-9)


def test_cross_entropy_with_every_pixel_ignored():
    logits, labels = np.ones((1, 2, 2, 2)), np.full((1, 2, 2), 255, np.uint8)
    assert np.isnan(reference.cross_entropy(logits, labels, ignore_index=255, reduction="mean"))
    assert reference.cross_entropy(logits, labels, ignore_index=255, reduction="sum") == 0
    for reduction in ("mean", "sum"):
        assert not reference.cross_entropy_input(logits, labels, ignore_index=255, reduction=reduction).any()


@pytest.mark.parametrize("function", [reference.cross_entropy, reference.cross_entropy_input])
@pytest.mark.parametrize("label", [-1, 2])
def test_cross_entropy_refuses_labels_that_are_no_class(function, label):
    with pytest.raises(IndexError, match=rf"labels must lie in 0\.\.1 or be ignore_index=255, got {label}"):
        function(np.zeros((1, 2, 1, 1)), np.full((1, 1, 1), label), ignore_index=255, reduction="mean")


def test_empty_batches():
    x, weight, geometry = np.zeros((0, 2, 4, 4)), np.ones((2, 1, 3, 3)), window(padding=1, groups=2)
    assert conv2d(x, weight, np.ones(2), **geometry).shape == x.shape
    assert conv_transpose2d(x, weight, np.ones(2), **geometry).shape == x.shape
    for function in (reference.conv2d_input, reference.conv_transpose2d_input):
        assert function(x.shape, weight, x, **geometry).shape == x.shape
    for function in (reference.conv2d_weight, reference.conv_transpose2d_weight):
        np.testing.assert_array_equal(function(x, weight.shape, x, **geometry), np.zeros(weight.shape))
    y, indices, offsets = max_pool2d(x, (2, 2))
    assert y.shape == indices.shape == offsets.shape == (0, 2, 2, 2)
    assert reference.max_pool2d_input(x.shape, offsets, y, **pooling()).shape == x.shape
    assert reference.max_unpool2d(y, indices, output_size=(4, 4)).shape == x.shape
    assert reference.max_unpool2d_input(x, indices).shape == y.shape
    assert reference.softmax(x).shape == reference.concatenate([x]).shape == x.shape
    labels = np.zeros((0, 4, 4), np.int64)
    assert reference.cross_entropy(x, labels, ignore_index=-100, reduction="sum") == 0
    assert np.isnan(reference.cross_entropy(x, labels, ignore_index=-100, reduction="mean"))
    assert reference.cross_entropy_input(x, labels, ignore_index=-100, reduction="mean").shape == x.shape


def test_results_are_contiguous_float64_and_inputs_untouched():
    x = np.moveaxis(np.random.default_rng(0).standard_normal((2, 6, 6, 4), dtype=np.float32), -1, 1)
    x.flags.writeable = False
    weight = np.ones((4, 4, 3, 3), np.float32)
    y, indices, offsets = max_pool2d(x, (3, 3))
    results = [
        conv2d(x, weight, **window(padding=1)),
        reference.conv2d_input(x.shape, weight, x, **window(padding=1)),
        conv_transpose2d(x, weight, activation="relu", **window(padding=1)),
        reference.conv_transpose2d_input(x.shape, weight, x, **window(padding=1)),
        y,
        reference.max_unpool2d(x, np.zeros(x.shape, np.int64), output_size=(6, 6)),
        reference.relu(x),
        reference.softmax(x),
        reference.concatenate([x, x]),
    ]
    assert all(result.dtype == np.float64 and result.flags.c_contiguous for result in results)
    assert all(result.dtype == np.int64 and result.flags.c_contiguous for result in (indices, offsets))
