"""Products of matrices that go into a graph, where CuPy refuses cuBLAS: the kernel beside NumPy's."""

import numpy as np
import pytest

from upconv import kernels
from upconv.kernels.base.products import matmul
from upconv.kernels.cuda.product import LONGEST, SHORTEST, TILE, product

SHAPES = [(1, 1, 1, 1), (2, 3, 0, 4), (1, 0, 3, 4), (3, TILE - 1, 17, TILE + 1), (1, 5, 2 * SHORTEST + 1, 2)]


@pytest.mark.parametrize("shape", [*SHAPES, (1, 2, LONGEST + 3, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("turned", [False, True])
def test_a_product_is_that_of_numpy(gpu, shape, dtype, turned):
    stack, rows, inner, columns = shape
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, each).astype(dtype) for each in ((stack, rows, inner), (stack, inner, columns)))
    there = [gpu.asarray(each) for each in (a, b)]
    if turned:  # the same numbers, the other way about in memory
        there = [gpu.asarray(np.ascontiguousarray(each.swapaxes(1, 2))).swapaxes(1, 2) for each in (a, b)]
    np.testing.assert_array_equal(product(*there).get(), a @ b)  # whole numbers: exact in any order


def test_what_is_nowhere_is_in_no_sum(gpu):
    """Numbers beyond the ends are no numbers: a block that looked at them would say so."""
    a = gpu.asarray(np.full((1, 3, 20), np.inf, np.float32))
    assert np.isinf(product(a[:, :, :5], gpu.ones((1, 5, 2), np.float32)).get()).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_graph_holds_linear_layers_and_convolutions(gpu, dtype):
    rng = np.random.default_rng(0)
    x, w = (gpu.asarray(rng.standard_normal(shape).astype(dtype)) for shape in ((4, 6), (5, 6)))
    maps, filters = (gpu.asarray(rng.standard_normal(shape).astype(dtype)) for shape in ((2, 4, 5, 6), (6, 2, 3, 3)))
    base, options = {"algorithm": "base"}, {"padding": 1, "groups": 2, "algorithm": "base"}

    def computed():
        y, z = kernels.linear(x, w, **base), kernels.conv2d(maps, filters, **options)
        return y, kernels.linear_weight(x, y, **base), z, kernels.conv2d_weight(maps, filters.shape, z, **options)

    expected, stream = [each.get() for each in computed()], gpu.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        given = computed()
        graph = stream.end_capture()
    graph.launch()
    for a, b in zip(given, expected, strict=True):
        np.testing.assert_allclose(a.get(), b, rtol=1e-4, atol=1e-4)


def test_outside_of_a_graph_it_is_cupy(gpu):
    x = gpu.ones((2, 3), np.float32)
    assert (matmul(x, x.T).get() == 3).all() and not gpu.device.names["product"]
