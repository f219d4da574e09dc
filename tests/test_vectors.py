"""Every width of vectors, whatever this CPU's own: exact at each tile's edges, and the same bits from all of them."""

from itertools import product

import llvmlite.binding as llvm
import numpy as np
import pytest
from kernel_cases import DTYPES, arranged, integers, same_bits

from upconv import kernels
from upconv.kernels import reference
from upconv.kernels.cpu import depthwise, dots, group_plan, machine, single, tile

PADDED = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}


@pytest.fixture(params=machine.KINDS)
def vectors(request, monkeypatch):
    monkeypatch.setenv("UPCONV_VECTORS", request.param)
    return machine.KINDS[request.param]


def around(size):
    """One less than `size`, `size`, one more."""
    return (size - 1, size, size + 1)


def edges(vectors, dtype):
    """(pixels, channels, filters) about the edges of the tiles: their columns, then their rows."""
    for wanted in (1, vectors.lanes(dtype) + 1):  # the narrow tile, then the wide one
        shape = tile.product_tile(vectors, dtype, wanted)
        yield from ((7, 3, filters) for filters in around(shape.columns) if filters)
        yield from ((pixels, 5, shape.columns) for pixels in around(shape.rows))
        yield from ((2, channels, shape.columns) for channels in (1, tile.UNROLL, tile.UNROLL + 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiles_are_exact_at_their_edges(vectors, dtype):
    rng = np.random.default_rng(0)
    for pixels, channels, filters in edges(vectors, np.dtype(dtype)):
        x, y = integers(rng, (1, channels, 1, pixels), dtype), integers(rng, (1, filters, 1, pixels), dtype)
        weight = integers(rng, (filters, channels, 3, 3), dtype)
        what = f"{pixels} pixels, {channels} -> {filters} channels"
        expected = reference.conv2d(x, weight, None, activation=None, **PADDED)
        same_bits(kernels.conv2d(x, weight, padding=1, algorithm="direct"), expected, dtype, what)
        expected = reference.conv2d_input(x.shape, weight, y, **PADDED)
        same_bits(kernels.conv2d_input(x.shape, weight, y, padding=1, algorithm="direct"), expected, dtype, what)
        expected = reference.conv2d_weight(x, weight.shape, y, **PADDED)
        same_bits(kernels.conv2d_weight(x, weight.shape, y, padding=1, algorithm="direct"), expected, dtype, what)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("ins", "outs"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_groups_side_by_side_are_exact_at_their_edges(vectors, dtype, ins, outs):
    rng = np.random.default_rng(0)
    groups = vectors.lanes(np.dtype(dtype)) // outs
    for count in (*around(groups), 2 * groups + 1):
        given = PADDED | {"groups": count}
        shapes = (1, count * ins, 3, 11), (count * outs, ins, 3, 3), (1, count * outs, 3, 11)
        if count < 2 or vectors.lanes(np.dtype(dtype)) == outs:
            continue
        x, weight, y = (integers(rng, shape, dtype) for shape in shapes)
        for name, arguments in (
            ("conv2d", (x, weight, None)),
            ("conv2d_input", (x.shape, weight, y)),
            ("conv2d_weight", (x, weight.shape, y)),
        ):
            more = {"activation": None} if name == "conv2d" else {}
            expected = getattr(reference, name)(*arguments, **more, **given)
            same_bits(getattr(kernels, name)(*arguments, padding=1, groups=count), expected, dtype, f"{count} groups")


@pytest.mark.parametrize("dtype", DTYPES)
def test_depthwise_tiles_are_exact_at_their_edges(vectors, dtype):
    rng, lanes = np.random.default_rng(0), vectors.lanes(np.dtype(dtype))
    tile = depthwise.ROWS, depthwise.pixels()
    windows = [
        ((3, 3), {"padding": ((1, 1), (1, 1))}),
        ((3, 3), {"padding": ((2, 0), (0, 3)), "stride": (2, 2)}),
        ((3, 3), {"padding": ((2, 2), (3, 3)), "dilation": (2, 3)}),
        ((5, 2), {"padding": ((2, 2), (1, 0))}),
    ]
    band, far = 2 + group_plan.BAND, group_plan.EDGED  # maps with a side beyond that are not copied
    for channels in (lanes, 2 * lanes + 1):
        for more, (kernel, geometry) in product([(0, 0), (1, 1), (band, band), (0, far), (far, 1)], windows):
            given = PADDED | geometry | {"groups": channels}
            x = integers(rng, (2, channels, *(2 + a + side for a, side in zip(more, tile, strict=True))), dtype)
            weight, bias = integers(rng, (channels, 1, *kernel), dtype), integers(rng, (channels,), dtype)
            expected = reference.conv2d(x, weight, bias, **given, activation="relu")
            what = f"{channels} channels, {x.shape[2]} x {x.shape[3]} pixels, {kernel[0]} x {kernel[1]}, {geometry}"
            y = kernels.conv2d(kernels.channels_last(x), weight, bias, **given, activation="relu")
            same_bits(y, expected, dtype, what)
            grad = integers(rng, expected.shape, dtype)
            for name, arguments in (
                ("conv2d_input", (x.shape, weight, grad)),
                ("conv2d_weight", (x, weight.shape, grad)),
            ):
                expected = getattr(reference, name)(*arguments, **given)
                same_bits(getattr(kernels, name)(*arguments, **given), expected, dtype, what)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("filters", range(1, dots.MOST + 1))
def test_scalar_products_are_exact_at_their_edges(vectors, dtype, filters):
    rng, lanes = np.random.default_rng(filters), vectors.lanes(np.dtype(dtype))
    for channels in (lanes, lanes + 1, 3 * lanes - 1):
        for width in (1, *around(lanes), 2 * lanes + 3):
            for stride in ((1, 1), (2, 3)):
                x = kernels.channels_last(integers(rng, (2, channels, 3, width), dtype))
                weight, bias = integers(rng, (filters, channels, 1, 1), dtype), integers(rng, (filters,), dtype)
                given = {"stride": stride, "activation": "relu"}
                assert kernels.explain(kernels.conv2d, x, weight, bias, **given).variant == "dots"
                y = kernels.conv2d(x, weight, bias, **given)
                wide = np.full((2, 7, *y.shape[2:]), np.nan, dtype).transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
                kernels.conv2d(x, weight, bias, **given, out=wide[:, 2 : 2 + filters])
                expected = reference.conv2d(x, weight, bias, **PADDED | given | {"padding": ((0, 0), (0, 0))})
                what = f"{channels} -> {filters} channels, {width} pixels, stride {stride}"
                same_bits(y, expected, dtype, what)
                same_bits(wide[:, 2 : 2 + filters], expected, dtype, what)
                assert np.isnan(wide[:, :2]).all() and np.isnan(wide[:, 2 + filters :]).all()


def test_which_layers_are_no_scalar_products():
    x, whole = np.ones((1, 16, 5, 5), np.float32), np.ones((2, 16, 1, 1), np.float32)
    for weight, given, why in (
        (np.ones((2, 16, 3, 3), np.float32), {}, "the kernel is 3 x 3, not 1 x 1"),
        (whole, {"padding": 1}, "there is padding"),
        (whole[:, :8], {"groups": 2}, "there are 2 groups"),
        (np.ones((dots.MOST + 1, 16, 1, 1), np.float32), {}, f"{dots.MOST + 1} filters are not 1 to {dots.MOST}"),
    ):
        assert f"  dots: cannot serve: {why}" in str(kernels.explain(kernels.conv2d, x, weight, **given))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_channel_is_exact_at_its_edges(vectors, dtype):
    rng, columns = np.random.default_rng(0), single._columns(np.dtype(dtype))
    sizes = [(1, 1), (single.ROWS, columns - 1), (single.ROWS + 1, columns), (single.BAND + 3, 2 * columns + 1)]
    windows = [((3, 3), ((1, 1), (1, 1))), ((5, 2), ((4, 0), (3, 2))), ((1, 4), ((2, 1), (0, 3)))]
    for filters in (1, vectors.lanes(np.dtype(dtype)) + 1):
        if filters > single.MOST:
            filters = single.MOST
        for size, (kernel, padding) in product(sizes, windows):
            given = PADDED | {"padding": padding}
            x, bias = integers(rng, (2, 1, *size), dtype), integers(rng, (filters,), dtype)
            weight = integers(rng, (filters, 1, *kernel), dtype)
            expected = reference.conv2d(x, weight, bias, **given, activation="relu")
            what = f"{filters} filters, {size[0]} x {size[1]} pixels, {kernel[0]} x {kernel[1]}"
            more = {"padding": padding, "activation": "relu", "algorithm": "single"}
            for map in (x, arranged(x, "spread")):
                same_bits(kernels.conv2d(map, weight, bias, **more), expected, dtype, what)
            wide = np.full((2, *expected.shape[2:], filters + 2), np.nan, dtype).transpose(0, 3, 1, 2)
            kernels.conv2d(x, weight, bias, **more, out=wide[:, 1:-1])
            same_bits(wide[:, 1:-1], expected, dtype, what)
            assert np.isnan(wide[:, [0, -1]]).all()
            weight, grad = weight.swapaxes(0, 1), integers(rng, (2, 1, *expected.shape[2:]), dtype)
            shape = (2, filters, *size)
            y = kernels.conv2d_input(shape, weight, grad, padding=padding, algorithm="single")
            same_bits(y, reference.conv2d_input(shape, weight, grad, **given), dtype, what)


def test_which_layers_are_not_of_one_channel():
    one, kernel = np.ones((1, 1, 9, 9), np.float32), np.ones((1, 1, 3, 3), np.float32)
    many = np.ones((single.MOST + 1, 1, 3, 3), np.float32)
    for x, weight, given, why in (
        (np.ones((1, 2, 9, 9), np.float32), np.ones((1, 2, 3, 3), np.float32), {}, "2 channels are not 1"),
        (one, many, {}, f"{single.MOST + 1} filters are not 1 to {single.MOST}"),
        (one, kernel, {"stride": 2}, "stride or dilation is not 1"),
        (one, kernel, {"dilation": (1, 2)}, "stride or dilation is not 1"),
    ):
        assert f"  single: cannot serve: {why}" in str(kernels.explain(kernels.conv2d, x, weight, **given))


FUSED = llvm.get_host_cpu_features().get("fma") or machine.platform.machine() in ("arm64", "aarch64")


@pytest.mark.skipif(not FUSED, reason="without fused multiply-adds the widths may round differently")
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_width_gives_the_same_bits(monkeypatch, dtype):
    """A result's sum runs over taps and channels in one order, in whichever lane of whichever tile."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 19, 9, 11), dtype=dtype), rng.standard_normal((21, 19, 3, 3), dtype=dtype)
    bias = rng.standard_normal(21, dtype=dtype)
    results = []
    for name in machine.KINDS:
        monkeypatch.setenv("UPCONV_VECTORS", name)
        results.append(kernels.conv2d(x, weight, bias, padding=1, stride=(1, 2)))
    for result in results:
        np.testing.assert_array_equal(result.view(np.uint8), results[0].view(np.uint8))


def test_unknown_vectors_are_refused(monkeypatch):
    monkeypatch.setenv("UPCONV_VECTORS", "avx1024")
    with pytest.raises(ValueError, match="UPCONV_VECTORS must be one of avx512, avx2, simd128, got 'avx1024'"):
        kernels.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)))
