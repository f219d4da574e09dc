"""Cross-entropy and its gradient against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, FORMATS, arranged

from upconv import kernels
from upconv.kernels import reference

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
dtypes, formats = st.sampled_from(DTYPES), st.sampled_from(FORMATS)
sizes = st.integers(1, 6)
reductions = st.sampled_from(("mean", "sum"))
LABELS = (np.uint8, np.int8, np.int16, np.uint16, np.int64, np.uint64)
# label dtype and ignore_index: where it is a class, and where no label can be it
labellings = st.tuples(st.sampled_from(LABELS), st.sampled_from((-100, -1, 0, 2, 100, 255)))


@settings(max_examples=250)
@given(
    *(sizes, sizes, st.sampled_from((1, 2, 3, 19, 40))),
    *(seeds, dtypes, formats, reductions, labellings, st.sampled_from((1, 1e4)), st.booleans()),
)
def test_loss_and_gradient(n, w, k, rng, dtype, format, reduction, labelling, scale, backwards):
    label_dtype, ignored = labelling
    z = arranged((scale * rng.standard_normal((n, k, 3, w))).astype(dtype), format)
    labels = rng.integers(0, k, (n, 3, w)).astype(label_dtype)
    if np.iinfo(label_dtype).min <= ignored <= np.iinfo(label_dtype).max:
        labels[rng.random(labels.shape) < 0.3] = ignored
    labels = labels[::-1, :, ::-1] if backwards else labels
    labels.flags.writeable = False
    given = {"ignore_index": ignored, "reduction": reduction}

    expected = reference.cross_entropy(z, labels, **given)
    loss = kernels.cross_entropy(z, labels, **given)
    assert (loss.shape, loss.dtype) == ((), dtype)
    # A pixel's error is that of z - max, and K + 4 roundings of the exponentials, their sum and its logarithm.
    counted = labels != ignored
    eps, parts = np.finfo(dtype).eps, counted.sum() if reduction == "mean" else 1
    distance = (z.max(axis=1) - z.min(axis=1))[counted].sum(dtype=np.float64)
    bound = eps * ((distance + (k + 4) * counted.sum()) / max(parts, 1) + abs(expected))
    np.testing.assert_allclose(loss, expected, rtol=0, atol=np.nan_to_num(bound))

    expected = reference.cross_entropy_input(z, labels, **given)
    grad = kernels.cross_entropy_input(z, labels, **given)
    assert (grad.shape, grad.dtype) == (z.shape, dtype)
    # p |z - max| <= 1 / e, so p itself is off by K + 8 roundings at most.
    np.testing.assert_allclose(grad, expected, rtol=0, atol=eps * (k + 8) / max(parts, 1))
    assert not grad[np.broadcast_to(~counted[:, None], z.shape)].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_logits(dtype):
    z = np.array([1e4, -1e4, 1e4], dtype).reshape(1, 3, 1, 1)
    right, wrong = np.array([[[0]]]), np.array([[[1]]])
    np.testing.assert_allclose(kernels.cross_entropy(z, right), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(kernels.cross_entropy(z, wrong), 2e4 + np.log(2), rtol=1e-6)
    assert kernels.cross_entropy_input(z, right).ravel().tolist() == [-0.5, 0, 0.5]
    assert kernels.cross_entropy_input(z, wrong).ravel().tolist() == [0.5, -1, 0.5]
    z = np.array([-np.inf, 0], dtype).reshape(1, 2, 1, 1)
    assert kernels.cross_entropy(z, right) == np.inf
    assert kernels.cross_entropy(z, wrong) == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (0, 3, 4, 4)])
def test_nothing_but_void(dtype, shape):
    z, labels = np.ones(shape, dtype), np.full((shape[0], 4, 4), 255, np.uint8)
    assert np.isnan(kernels.cross_entropy(z, labels, ignore_index=255))
    assert kernels.cross_entropy(z, labels, ignore_index=255, reduction="sum") == 0
    for reduction in ("mean", "sum"):
        grad = kernels.cross_entropy_input(z, labels, ignore_index=255, reduction=reduction)
        np.testing.assert_array_equal(grad, np.zeros(shape))


def test_void_pixels_may_hold_anything():
    z, labels = np.zeros((1, 2, 1, 2)), np.array([[[1, 255]]])
    z[..., 1] = np.nan
    assert kernels.cross_entropy(z, labels, ignore_index=255) == np.log(2)
    np.testing.assert_array_equal(
        kernels.cross_entropy_input(z, labels, ignore_index=255)[0, :, 0], [[0.5, 0], [-0.5, 0]]
    )


def test_the_mean_is_over_pixels_that_count():
    z = np.random.default_rng(0).standard_normal((2, 3, 5, 7))
    labels = np.random.default_rng(1).integers(0, 3, (2, 5, 7))
    labels[:, ::2] = -100
    total, mean = (kernels.cross_entropy(z, labels, reduction=reduction) for reduction in ("sum", "mean"))
    np.testing.assert_allclose(total / mean, (labels >= 0).sum(), rtol=1e-15)
