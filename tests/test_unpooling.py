"""Unpooling against the reference, to the last bit: duplicates, indices from afar, and how ONNX counts them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import arranged, integers, same_bits
from pooling_cases import channels, dtypes, formats, poolings, seeds, taken_for_large

from upconv import kernels
from upconv.kernels import reference
from upconv.kernels.cpu import scattering


@settings(max_examples=200)
@given(
    st.tuples(st.integers(1, 3), channels, st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(0, 1), st.integers(-1, 1)),
    *(seeds, dtypes, formats),
    st.sampled_from((np.int64, np.int64, np.uint8, np.int32, np.uint64)),
    *(st.booleans(), st.sampled_from((0, 3, 100))),
)
def test_max_unpooling_with_duplicates_and_its_gradient(shape, more, rng, dtype, format, index_dtype, large, spread):
    """spread: how far an index is from where pooling would have found it, at most: in rows, both ways."""
    size = 2 * shape[2] + more[0], 2 * shape[3] + more[1]
    x = arranged(integers(rng, shape, dtype), format)
    row = np.arange(shape[2])[:, None] * 2 + rng.integers(-spread, spread + 2, shape)
    indices = row.clip(0, size[0] - 1) * size[1] + rng.integers(0, size[1], shape)
    indices = indices.astype(index_dtype)  # all are less than 256
    indices = arranged(indices, format) if format not in ("slice", "spread") else indices
    expected = reference.max_unpool2d(x, indices, output_size=size)
    grad = arranged(integers(rng, expected.shape, dtype), format)
    with taken_for_large(large):
        same_bits(kernels.max_unpool2d(x, indices, 2, output_size=size), expected, dtype)
        dx = kernels.max_unpool2d_input(grad, indices)
    same_bits(dx, reference.max_unpool2d_input(grad, indices), dtype)
    assert (expected * grad).sum() == (x * dx).sum()  # its adjoint


def test_unpooling_undoes_pooling():
    x = np.abs(np.random.default_rng(0).standard_normal((2, 5, 9, 12)))
    y, indices = kernels.max_pool2d(x, (3, 2), return_indices=True)
    unpooled = kernels.max_unpool2d(y, indices, (3, 2))
    kept = unpooled != 0
    assert unpooled.shape == x.shape
    assert kept.sum() == y.size
    np.testing.assert_array_equal(unpooled[kept], x[kept])
    np.testing.assert_array_equal(kernels.max_pool2d(unpooled, (3, 2)), y)


@pytest.mark.parametrize("how", ["in blocks", "in bands", "in planes"])
def test_near_indices_are_looked_up_and_others_scattered(how, monkeypatch):
    """By bands that the cache holds where the winners are near, else, as any band would read every row, by planes."""
    monkeypatch.setattr(scattering, "BAND", 8000)
    rng = np.random.default_rng(0)
    x = integers(rng, (2, 20, 64, 48), np.float32)
    window = {"stride": 2, "padding": 1} if how == "in bands" else {}
    y, indices = kernels.max_pool2d(x, 3 if window else 2, return_indices=True, **window)
    if how == "in planes":
        indices = rng.permuted(indices.reshape(2, 20, -1), axis=2).reshape(indices.shape)
    chosen = []
    bands = scattering._bands
    monkeypatch.setattr(scattering, "_bands", lambda *given: chosen.append(bands(*given)) or chosen[-1])
    expected = reference.max_unpool2d(y, indices, output_size=(64, 48))
    same_bits(kernels.max_unpool2d(y, indices, 2, output_size=(64, 48)), expected, np.float32)
    same_bits(kernels.max_unpool2d_input(x, indices), reference.max_unpool2d_input(x, indices), np.float32)
    names = ["in planes" if each is None else "in bands" for each in chosen]
    assert names == ([] if how == "in blocks" else [how, how])


@settings(max_examples=150)
@given(poolings(largest_dilation=1), seeds, dtypes, formats, st.booleans())
def test_max_unpooling_where_pooling_found_them(case, rng, dtype, format, large):
    shape, _, window, ceil_mode = case
    y, indices = kernels.max_pool2d(integers(rng, shape, dtype), ceil_mode=ceil_mode, return_indices=True, **window)
    y, grad = arranged(y, format), arranged(integers(rng, shape, dtype), format)
    found = indices if format in ("slice", "spread") else arranged(indices, format)  # those fill gaps with NaN
    expected = reference.max_unpool2d(y, found, output_size=shape[2:])
    known = {name: window[name] for name in ("kernel_size", "stride", "padding")}
    with taken_for_large(large):
        result = kernels.max_unpool2d(y, found, output_size=shape[2:], **known)
        dx = kernels.max_unpool2d_input(grad, found)
    same_bits(result, expected, dtype)
    same_bits(dx, reference.max_unpool2d_input(grad, found), dtype)


sizes = st.tuples(st.integers(1, 3), channels, st.integers(1, 6), st.integers(1, 6))


@settings(max_examples=150)
@given(sizes, st.tuples(st.integers(1, 4), st.integers(1, 4)), seeds, dtypes, formats, st.booleans())
def test_unpooling_at_the_corner_and_its_gradient(shape, kernel, rng, dtype, format, large):
    x = arranged(integers(rng, shape, dtype), format)
    y = reference.unpool2d(x, kernel_size=kernel)
    grad = arranged(integers(rng, y.shape, dtype), format)
    with taken_for_large(large):
        same_bits(kernels.unpool2d(x, kernel), y, dtype)
        dx = kernels.unpool2d_input(grad, kernel)
    same_bits(dx, reference.unpool2d_input(grad, kernel_size=kernel), dtype)
    assert (y * grad).sum() == (x * dx).sum()  # its adjoint


def test_unpooling_keeps_nan_and_infinity_where_they_are():
    x = np.array([[[[np.nan, np.inf]]]])
    np.testing.assert_array_equal(kernels.unpool2d(x, (1, 2)), [[[[np.nan, 0, np.inf, 0]]]])
    np.testing.assert_array_equal(kernels.max_unpool2d(x, np.array([[[[3, 1]]]]), (1, 2)), [[[[0, np.inf, 0, np.nan]]]])


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4), (2, 3, 4, 0), (3, 0, 4), (0, 4, 4)])
def test_empty_maps(shape):
    x = np.zeros(shape)
    y = kernels.unpool2d(x, (2, 3))
    assert y.shape == (*shape[:-2], 2 * shape[-2], 3 * shape[-1])
    assert kernels.unpool2d_input(y, (2, 3)).shape == shape
    if 0 not in shape[-2:]:
        indices = np.zeros(shape, np.int64)
        assert kernels.max_unpool2d(x, indices, 2).shape == (*shape[:-2], 8, 8)
        assert kernels.max_unpool2d_input(np.zeros((*shape[:-2], 8, 8)), indices).shape == shape
    assert kernels.indices_to_onnx(np.zeros(shape, np.int32), (*shape[:-2], 1, 1)).shape == shape
    assert kernels.indices_from_onnx(np.zeros((*shape[:-2], 0, 1), np.int8), shape).shape == (*shape[:-2], 0, 1)


def test_one_image():
    x = integers(np.random.default_rng(0), (3, 4, 6))
    y, indices = kernels.max_pool2d(x, 2, return_indices=True)
    up = kernels.max_unpool2d(y, indices, 2)
    same_bits(up, kernels.max_unpool2d(y[None], indices[None], 2)[0], np.float64)
    same_bits(kernels.max_unpool2d_input(x, indices), y, np.float64)
    same_bits(kernels.unpool2d(x, 2), kernels.unpool2d(x[None], 2)[0], np.float64)
    same_bits(kernels.unpool2d_input(kernels.unpool2d(x, 2), 2), x, np.float64)
    onnx = kernels.indices_to_onnx(indices, x.shape)
    same_bits(onnx, kernels.indices_to_onnx(indices[None], (1, *x.shape))[0], np.int64)
    same_bits(kernels.indices_from_onnx(onnx, x.shape), indices, np.int64)


OUTSIDE = [-1, 16, 2**32, 2**32 + 5, -(2**32), 2**63 - 1, -(2**63)]


@pytest.mark.parametrize("index", OUTSIDE)
@pytest.mark.parametrize("position", [(0, 0, 0, 0), (1, 2, 1, 1)])
def test_indices_outside_the_plane_are_refused(index, position):
    indices = np.zeros((2, 3, 2, 2), np.int64)
    indices[position] = index
    x, y = np.zeros((2, 3, 2, 2)), np.zeros((2, 3, 4, 4))
    for name, call in {
        "max_unpool2d": lambda: kernels.max_unpool2d(x, indices, 2),
        "max_unpool2d_input": lambda: kernels.max_unpool2d_input(y, indices),
        "indices_to_onnx": lambda: kernels.indices_to_onnx(indices, y.shape),
    }.items():
        with pytest.raises(IndexError, match=rf"{name}: indices must be in 0\.\.15, got {index}$"):
            call()


def test_unsigned_indices_beyond_the_signed_are_refused():
    indices = np.full((1, 1, 1, 1), 2**64 - 1, np.uint64)  # -1, were it taken for signed
    with pytest.raises(IndexError, match=rf"indices must be in 0\.\.3, got {2**64 - 1}$"):
        kernels.max_unpool2d(np.zeros((1, 1, 1, 1)), indices, 2)
    with pytest.raises(IndexError, match=rf"indices must be in 0\.\.3, got {2**64 - 1}$"):
        kernels.indices_from_onnx(indices, (1, 1, 2, 2))


def test_refusals_of_the_fixed_form():
    with pytest.raises(ValueError, match=r"kernel_size must divide the size of grad \(4, 6\), got \(3, 3\)"):
        kernels.unpool2d_input(np.zeros((1, 1, 4, 6)), 3)
    with pytest.raises(ValueError, match=r"unpool2d: the result must have fewer than 2\*\*31 rows and columns"):
        kernels.unpool2d(np.zeros((1, 1, 4, 6)), (1, 2**30))
    with pytest.raises(ValueError, match=r"unpool2d: kernel_size\[0\] must be at least 1, got 0"):
        kernels.unpool2d(np.zeros((1, 1, 4, 6)), (0, 1))


@settings(max_examples=100)
@given(sizes, st.tuples(st.integers(1, 5), st.integers(1, 5)), seeds, st.sampled_from((0, 1)), formats)
def test_indices_go_to_onnx_and_back(pooled, size, rng, order, format):
    """Against NumPy's own way of counting, image, channel, row and column."""
    shape = (*pooled[:2], *size)
    rows, columns = rng.integers(0, size[0], pooled), rng.integers(0, size[1], pooled)
    n, c = np.ogrid[: shape[0], : shape[1]]
    n, c = np.broadcast_arrays(n[..., None, None], c[..., None, None], rows)[:2]
    axes = (n, c, rows, columns) if order == 0 else (n, c, columns, rows)
    dimensions = shape if order == 0 else (*shape[:2], size[1], size[0])
    expected = np.ravel_multi_index(axes, dimensions)
    indices = rows * size[1] + columns
    indices.flags.writeable = False
    onnx = kernels.indices_to_onnx(indices, shape, storage_order=order)
    same_bits(onnx, expected, np.int64)
    same_bits(kernels.indices_from_onnx(onnx, shape, storage_order=order), indices, np.int64)


@pytest.mark.parametrize(("bad", "plane"), [(3, (0, 1)), (8, (0, 1)), (-1, None), (12, None), (2**32 + 4, None)])
def test_indices_of_another_plane_are_refused(bad, plane):
    indices = np.array([[[[0]], [[bad]], [[8]]]])
    message = "0..11, got" if plane is None else f"4..7 in plane {plane}, got".replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(IndexError, match=f"indices_from_onnx: indices must be in {message} {bad}$"):
        kernels.indices_from_onnx(indices, (1, 3, 2, 2))


def test_refusals_of_the_converters():
    indices = np.zeros((1, 2, 2, 2), np.int64)
    for convert in (kernels.indices_to_onnx, kernels.indices_from_onnx):
        with pytest.raises(ValueError, match="storage_order must be at most 1, got 2"):
            convert(indices, (1, 2, 4, 4), storage_order=2)
        with pytest.raises(ValueError, match=r"indices must have shape \(1, 3, 2, 2\), got \(1, 2, 2, 2\)"):
            convert(indices, (1, 3, 4, 4))
        with pytest.raises(TypeError, match="indices must be integers, got float64"):
            convert(indices.astype(float), (1, 2, 4, 4))
        with pytest.raises(ValueError, match=r"input_shape must have fewer than 2\*\*63 entries"):
            convert(np.zeros((1, 3, 2, 2), np.int64), (1, 3, 2**31 - 1, 2**31 - 1))
