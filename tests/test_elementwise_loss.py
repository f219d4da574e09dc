"""The losses that compare two arrays, and their gradients, against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, FORMATS, arranged, integers, same_bits

from upconv import kernels
from upconv.kernels import reference

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
dtypes, formats = st.sampled_from(DTYPES), st.sampled_from(FORMATS)
sizes = st.integers(0, 4)
shapes = st.tuples(sizes, st.sampled_from((1, 2, 3, 15, 16, 17, 33)), sizes, st.integers(0, 40))
reductions = st.sampled_from(("mean", "sum"))
BINARY = "binary_cross_entropy_with_logits"
NAMES = ("l1_loss", "mse_loss", BINARY)


@settings(max_examples=200)
@given(shapes, seeds, dtypes, formats, formats, reductions, st.sampled_from(("l1_loss", "mse_loss")))
def test_l1_and_mse_are_exact_where_numbers_are(shape, rng, dtype, format, other, reduction, name):
    x, target = (arranged(integers(rng, shape, dtype), f) for f in (format, other))
    expected = getattr(reference, name)(x, target, reduction=reduction)
    same_bits(getattr(kernels, name)(x, target, reduction=reduction), expected, dtype)
    expected = getattr(reference, f"{name}_input")(x, target, reduction=reduction)
    grad = getattr(kernels, f"{name}_input")(x, target, reduction=reduction)
    assert (grad.shape, grad.dtype) == (shape, dtype)
    np.testing.assert_allclose(grad, expected, rtol=2 * np.finfo(dtype).eps)


@settings(max_examples=150)
@given(
    *(shapes, seeds, dtypes, formats, formats, reductions, st.sampled_from((1, 1e4))),
    *(st.sampled_from((None, "number", "channel", "all")) for _ in range(2)),
    st.booleans(),
)
def test_binary_cross_entropy_and_its_gradient(
    shape, rng, dtype, format, other, reduction, scale, weight, pos_weight, hard
):
    x = arranged((scale * rng.standard_normal(shape)).astype(dtype), format)
    target = arranged((rng.integers(0, 2, shape) if hard else rng.random(shape)).astype(dtype), other)
    kinds = {"number": (), "channel": (shape[1], 1, 1), "all": shape}
    weights = [
        None if kind is None else rng.choice([0, 1, 2.5], kinds[kind]).astype(dtype) for kind in (weight, pos_weight)
    ]
    options = dict(zip(("weight", "pos_weight"), weights, strict=True))
    expected = getattr(reference, BINARY)(x, target, *weights, reduction=reduction)
    loss = getattr(kernels, BINARY)(x, target, reduction=reduction, **options)
    assert (loss.shape, loss.dtype) == ((), dtype)
    # Every part of the sum is positive and has a few roundings.
    np.testing.assert_allclose(loss, expected, rtol=16 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)
    expected = getattr(reference, f"{BINARY}_input")(x, target, *weights, reduction=reduction)
    grad = getattr(kernels, f"{BINARY}_input")(x, target, reduction=reduction, **options)
    assert (grad.shape, grad.dtype) == (shape, dtype)
    parts = (x.size if reduction == "mean" else 1) or 1
    np.testing.assert_allclose(grad, expected, rtol=0, atol=64 * np.finfo(dtype).eps / parts)


@pytest.mark.parametrize("shape", [(), (7,), (3, 4), (2, 3, 4), (2, 3, 4, 2), (1, 2, 3, 2, 2)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", [*NAMES, "weighted"])
def test_gradients_are_the_limit_of_differences(shape, reduction, name):
    rng = np.random.default_rng(0)
    x, target = np.asarray(rng.standard_normal(shape)), np.asarray(rng.random(shape))
    options = {"reduction": reduction}
    if name == "weighted":
        name, options = BINARY, options | {"weight": np.full(shape, 0.7), "pos_weight": np.array(2.5)}
    grad = getattr(kernels, f"{name}_input")(x, target, **options)
    assert grad.shape == shape
    for place in np.ndindex(shape):
        step = np.zeros(shape)
        step[place] = 1e-6
        ahead, behind = (getattr(kernels, name)(np.asarray(x + h), target, **options) for h in (step, -step))
        np.testing.assert_allclose(grad[place], (ahead - behind) / 2e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_many_numbers(dtype, name):
    """Several splits, whatever the threads, of memory that is dense and that is not."""
    rng = np.random.default_rng(0)
    for format in ("contiguous", "channels_last", "spread"):
        x, target = (arranged(rng.random((2, 5, 160, 151)).astype(dtype), format) for _ in range(2))
        expected = getattr(reference, name)(x, target, reduction="sum")
        with kernels.num_threads(1):
            alone = getattr(kernels, name)(x, target, reduction="sum")
        with kernels.num_threads(3):
            assert getattr(kernels, name)(x, target, reduction="sum") == alone
        np.testing.assert_allclose(alone, expected, rtol=4 * np.finfo(dtype).eps)
        expected = getattr(reference, f"{name}_input")(x, target, reduction="sum")
        grad = getattr(kernels, f"{name}_input")(x, target, reduction="sum")
        np.testing.assert_allclose(grad, expected, rtol=0, atol=8 * np.finfo(dtype).eps)


def test_many_float32_are_summed_in_float64():
    x = np.full((1, 1, 4096, 4097), 1, np.float32)
    zero = np.broadcast_to(np.float32(0), x.shape)
    for name in ("l1_loss", "mse_loss"):
        assert getattr(kernels, name)(x, zero, reduction="sum") == x.size > 2**24  # where float32 stops counting


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_logits(dtype):
    x = np.array([1e4, -1e4, 1e4, -1e4, 0], dtype)
    target = np.array([1, 0, 0, 1, 0.5], dtype)
    np.testing.assert_allclose(getattr(kernels, BINARY)(x, target, reduction="sum"), 2e4 + np.log(2), rtol=1e-6)
    grad = getattr(kernels, f"{BINARY}_input")(x, target, reduction="sum")
    np.testing.assert_array_equal(grad, [0, 0, 1, -1, 0])
    small = np.array([-30], dtype)  # 1 + exp(-30) is 1 in float32
    np.testing.assert_allclose(getattr(kernels, BINARY)(small, 0 * small), np.exp(-30), rtol=1e-6)
    np.testing.assert_allclose(getattr(kernels, f"{BINARY}_input")(small, 0 * small), [np.exp(-30)], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite(dtype):
    nan, inf = np.nan, np.inf
    x, target = np.array([nan, 1, inf, inf, -inf], dtype), np.array([1, nan, 1, inf, inf], dtype)
    np.testing.assert_array_equal(kernels.l1_loss_input(x, target, reduction="sum"), [0, 0, 1, 0, -1])
    np.testing.assert_array_equal(kernels.mse_loss_input(x, target, reduction="sum"), [nan, nan, inf, nan, -inf])
    for value, goal, l1 in zip(x, target, [nan, nan, inf, nan, inf], strict=True):
        for name in ("l1_loss", "mse_loss"):
            np.testing.assert_array_equal(getattr(kernels, name)(np.array([value]), np.array([goal])), l1)
    for value, goal, expected, slope in [
        (nan, 0, nan, nan),
        (1, nan, nan, nan),
        (inf, 0, inf, 1),
        (inf, 0.5, inf, 0.5),
        (-inf, 1, inf, -1),
        (-inf, 0.5, inf, -0.5),
    ]:
        pair = np.array([value], dtype), np.array([goal], dtype)
        np.testing.assert_array_equal(getattr(kernels, BINARY)(*pair), expected)
        np.testing.assert_array_equal(getattr(kernels, f"{BINARY}_input")(*pair), [slope])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0,), (0, 3, 4, 4), (2, 3, 0, 4)])
def test_nothing(dtype, name, shape):
    x = np.zeros(shape, dtype)
    assert np.isnan(getattr(kernels, name)(x, x))
    assert getattr(kernels, name)(x, x, reduction="sum") == 0
    assert getattr(kernels, f"{name}_input")(x, x).shape == shape


def test_weights_broadcast_as_in_numpy():
    rng = np.random.default_rng(0)
    maps = *rng.random((2, 2, 3, 4, 4)), rng.random((3, 1, 1))
    pairs = maps[0][..., 0, 0], maps[1][..., 0, 0], maps[2].ravel()
    for x, target, weight in (maps, pairs):
        each = [
            kernels.binary_cross_entropy_with_logits(x[:, k], target[:, k], pos_weight=weight[k : k + 1].ravel())
            for k in range(3)
        ]
        loss = kernels.binary_cross_entropy_with_logits(x, target, pos_weight=weight)
        np.testing.assert_allclose(loss, np.mean(each), rtol=1e-14)


X = np.ones((2, 3, 4, 4))
WRONG = [
    ({"target": X[0]}, ValueError, r"target must have shape \(2, 3, 4, 4\), got \(3, 4, 4\)"),
    ({"target": X.astype("f")}, TypeError, "target must be float64 like the first array"),
    ({"target": 1.0}, TypeError, "target must be a NumPy array"),
    ({"x": X.astype(int)}, TypeError, "x must be float32 or float64"),
    ({"reduction": None}, ValueError, "reduction must be one of 'mean', 'sum', got None"),
]
WRONG_WEIGHTS = [
    *(
        ({name: np.ones(3)}, ValueError, f"{name} must broadcast to the shape of x")
        for name in ("weight", "pos_weight")
    ),
    ({"pos_weight": np.ones((1, 2, 3, 4, 4))}, ValueError, "pos_weight must broadcast to the shape of x"),
    ({"pos_weight": np.array(np.inf)}, ValueError, "pos_weight must be finite, got inf"),
    ({"weight": np.array([1, 1, 1, np.nan])}, ValueError, "weight must be finite, got nan"),
    ({"weight": 2.0}, TypeError, "weight must be a NumPy array"),
    ({"weight": np.ones(4, np.float32)}, TypeError, "weight must be float64"),
]


@pytest.mark.parametrize(
    ("name", "wrong", "error", "message"),
    [(name, *each) for name in NAMES for each in WRONG] + [(BINARY, *each) for each in WRONG_WEIGHTS],
)
def test_wrong_arguments(name, wrong, error, message):
    for function in (name, f"{name}_input"):
        with pytest.raises(error, match=f"{function}: {message}"):
            getattr(kernels, function)(**({"x": X, "target": X} | wrong))
