"""The fully connected layer against the reference, and as a convolution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, EDGES, integers, same_bits

from upconv import kernels
from upconv.kernels import reference

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
counts = st.one_of(st.integers(0, 5), st.sampled_from(EDGES))


@settings(max_examples=150)
@given(st.lists(st.integers(0, 4), max_size=3), counts, counts, seeds, st.sampled_from(DTYPES), st.booleans())
def test_all_sides_are_exact_in_small_integers(before, ins, outs, rng, dtype, turned):
    x, grad = integers(rng, (*before, ins), dtype), integers(rng, (*before, outs), dtype)
    weight, bias = integers(rng, (outs, ins), dtype), integers(rng, outs, dtype)
    rows, grads = x.reshape(-1 if x.size else int(np.prod(before)), ins), grad.reshape(int(np.prod(before)), outs)
    if turned:
        weight, x = np.asfortranarray(weight), np.asfortranarray(x)
    for activation in (None, "relu"):
        expected = reference.linear(rows, weight, bias, activation=activation).reshape(grad.shape)
        same_bits(kernels.linear(x, weight, bias, activation=activation), expected, dtype)
    same_bits(kernels.linear_input(weight, grad), reference.linear_input(weight, grads).reshape(x.shape), dtype)
    same_bits(kernels.linear_weight(x, grad), reference.linear_weight(rows, grads), dtype)
    same_bits(kernels.linear_bias(grad), reference.linear_bias(grads), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 7), (1, 5000), (3, 2049), (1000, 100), (300_000, 1)])
def test_one_row_or_one_output_only_moves_memory(shape, dtype):
    """Products of two vectors and weighted sums, in one piece and in many."""
    rng = np.random.default_rng(0)
    many, one, row = (integers(rng, each, dtype) for each in (shape, (shape[0], 1), (1, shape[1])))
    same_bits(kernels.linear_input(row, one), reference.linear_input(row, one), dtype)  # one output
    same_bits(kernels.linear_weight(many, one), reference.linear_weight(many, one), dtype)
    same_bits(kernels.linear_weight(row, one.T), reference.linear_weight(row, one.T), dtype)  # one row
    same_bits(kernels.linear_input(many, one.T), reference.linear_input(many, one.T), dtype)
    same_bits(kernels.linear_input(np.asfortranarray(many), one.T), reference.linear_input(many, one.T), dtype)


def test_it_is_the_convolution_whose_kernel_is_as_large_as_the_map():
    """FCN's convolutionalised classifier: Long, Shelhamer & Darrell (2015), section 3.1."""
    rng = np.random.default_rng(0)
    x, weight = integers(rng, (3, 5, 4, 6)), integers(rng, (7, 5 * 4 * 6))
    y = kernels.conv2d(x, weight.reshape(7, 5, 4, 6))
    np.testing.assert_array_equal(kernels.linear(x.reshape(3, -1), weight), y[:, :, 0, 0])
