"""The losses of labelled pixels and their gradients against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, FORMATS, arranged, integers, same_bits

from upconv import kernels
from upconv.kernels import reference
from upconv.kernels.cpu import dice, loss

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
dtypes, formats = st.sampled_from(DTYPES), st.sampled_from(FORMATS)
sizes = st.integers(1, 6)
widths = st.sampled_from((1, 2, 5, 15, 16, 17, 40))
classes = st.sampled_from((1, 2, 3, 19, 40, 300))
reductions = st.sampled_from(("mean", "sum"))
LABELS = (np.uint8, np.int8, np.int16, np.uint16, np.int64, np.uint64)
# label dtype and ignore_index: where it is a class, and where no label can be it
labellings = st.tuples(st.sampled_from(LABELS), st.sampled_from((-100, -1, 0, 2, 100, 255)))
WEIGHTS = (None, [0, 1], [1, 1, 2.5], [0.5, -1, 0, 3])


def labelled(rng, shape, k, labelling, backwards):
    """Labels of that shape, about a third of them void, read-only."""
    dtype, ignored = labelling
    labels = rng.integers(0, min(k, np.iinfo(dtype).max), shape).astype(dtype)
    if np.iinfo(dtype).min <= ignored <= np.iinfo(dtype).max:
        labels[rng.random(labels.shape) < 0.3] = ignored
    labels = labels[::-1, :, ::-1] if backwards else labels
    labels.flags.writeable = False
    return labels


@pytest.fixture(params=[False, True], ids=["stored", "streamed"])
def streamed(request, monkeypatch):
    for module in (dice, loss):
        monkeypatch.setattr(module, "streams", lambda nbytes: request.param)


@settings(max_examples=250)
@given(
    *(sizes, widths, classes),
    *(seeds, dtypes, formats, reductions, labellings, st.sampled_from((1, 1e4)), st.booleans()),
    st.sampled_from(WEIGHTS),
)
def test_cross_entropy_and_its_gradient(n, w, k, rng, dtype, format, reduction, labelling, scale, backwards, weights):
    z = arranged((scale * rng.standard_normal((n, k, 3, w))).astype(dtype), format)
    labels = labelled(rng, (n, 3, w), k, labelling, backwards)
    weight = None if weights is None else rng.choice(np.array(weights, dtype), k)
    given = {"ignore_index": labelling[1], "reduction": reduction}

    expected = reference.cross_entropy(z, labels, weight, **given)
    loss = kernels.cross_entropy(z, labels, weight=weight, **given)
    assert (loss.shape, loss.dtype) == ((), dtype)
    # A pixel's error is that of z - max, and K + 4 roundings of the exponentials, their sum and its logarithm.
    counted = labels != labelling[1]
    own = (np.ones(k) if weight is None else weight.astype(np.float64))[labels[counted].astype(int)]
    eps, parts = np.finfo(dtype).eps, abs(own.sum()) if reduction == "mean" else 1
    parts = parts if parts > 0 else np.nan if own.any() else 1  # else all is NaN or infinite
    distance = (z.max(axis=1) - z.min(axis=1))[counted].astype(np.float64)
    bound = eps * ((abs(own) * (distance + k + 4)).sum() / parts + abs(expected))
    np.testing.assert_allclose(loss, expected, rtol=0, atol=np.nan_to_num(bound))

    expected = reference.cross_entropy_input(z, labels, weight, **given)
    grad = kernels.cross_entropy_input(z, labels, weight=weight, **given)
    assert (grad.shape, grad.dtype) == (z.shape, dtype)
    if not np.isnan(parts):
        # p |z - max| <= 1 / e, so p itself is off by K + 8 roundings at most.
        bound = eps * (k + 8) * max(abs(own), default=0) / parts
        np.testing.assert_allclose(grad, expected, rtol=0, atol=bound)
    assert not grad[np.broadcast_to(~counted[:, None], z.shape)].any()


@settings(max_examples=100)
@given(
    *(sizes, widths, classes, seeds, dtypes, formats, reductions, labellings, st.booleans()),
    st.sampled_from((None, [1, 2, 3], [0, 1, -2])),
)
def test_negative_log_likelihood_is_exact(n, w, k, rng, dtype, format, reduction, labelling, backwards, weights):
    x = arranged(integers(rng, (n, k, 3, w), dtype), format)
    labels = labelled(rng, (n, 3, w), k, labelling, backwards)
    weight = None if weights is None else rng.choice(np.array(weights, dtype), k)
    given = {"ignore_index": labelling[1], "reduction": reduction}
    expected = reference.nll_loss(x, labels, weight, **given)
    same_bits(kernels.nll_loss(x, labels, weight=weight, **given), expected, dtype)
    expected = reference.nll_loss_input(x, labels, weight, **given)
    same_bits(kernels.nll_loss_input(x, labels, weight=weight, **given), expected, dtype)


@settings(max_examples=150)
@given(
    *(sizes, widths, classes, seeds, dtypes, formats, labellings, st.booleans()),
    st.sampled_from(((1, 0), (1, 1), (1e4, 0.25))),
    st.booleans(),
)
def test_dice_loss_and_its_gradient(n, w, k, rng, dtype, format, labelling, backwards, numbers, squared):
    scale, smooth = numbers
    z = arranged((scale * rng.standard_normal((n, k, 3, w))).astype(dtype), format)
    labels = labelled(rng, (n, 3, w), k, labelling, backwards)
    given = {"ignore_index": labelling[1], "smooth": smooth, "squared": squared}
    expected = reference.dice_loss(z, labels, **given)
    loss = kernels.dice_loss(z, labels, **given)
    assert (loss.shape, loss.dtype) == ((), dtype)
    roundings = np.finfo(dtype).eps * (k + 30)  # of a probability of which more than a trace is left
    np.testing.assert_allclose(loss, expected, rtol=0, atol=4 * roundings)

    expected = reference.dice_loss_input(z, labels, **given)
    grad = kernels.dice_loss_input(z, labels, **given)
    assert (grad.shape, grad.dtype) == (z.shape, dtype)
    counted = labels != labelling[1]
    p = reference.softmax(z) * counted[:, None]
    each = [(counted & (labels == c)).sum() + smooth for c in range(k)] + (p**2 if squared else p).sum(axis=(0, 2, 3))
    if counted.any():  # of d_k, of which there are 2 / (K B_k) and less than twice that
        np.testing.assert_allclose(grad, expected, rtol=0, atol=16 * roundings / (k * each.min()))
    assert not grad[np.broadcast_to(~counted[:, None], z.shape)].any()


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("k", [1, 2, 21])
def test_many_blocks(k):
    rng = np.random.default_rng(k)
    z = kernels.channels_last(rng.standard_normal((2, k, 77, 101)))
    labels, given = rng.integers(0, k, (2, 77, 101)), {"ignore_index": 0, "reduction": "mean"}
    dice = {"ignore_index": 0, "smooth": 1.0, "squared": True}
    for name, options in (("cross_entropy", given), ("nll_loss", given), ("dice_loss", dice)):
        for function in (name, f"{name}_input"):
            expected = getattr(reference, function)(z, labels, **options)
            with kernels.num_threads(1):
                alone = getattr(kernels, function)(z, labels, **options)
            with kernels.num_threads(3):
                np.testing.assert_array_equal(getattr(kernels, function)(z, labels, **options), alone)
            np.testing.assert_allclose(alone, expected, rtol=1e-11, atol=1e-17)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 2, 3), (1, 3, 2, 2, 2)])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(
            (name, {"reduction": r, "weighted": w})
            for name in ("cross_entropy", "nll_loss")
            for r, w in (("mean", False), ("sum", False), ("mean", True), ("sum", True))
        ),
        *(("dice_loss", {"smooth": smooth, "squared": squared}) for smooth in (0, 1) for squared in (False, True)),
    ],
)
def test_gradients_are_the_limit_of_differences(shape, name, options):
    rng = np.random.default_rng(0)
    z, labels = rng.standard_normal(shape), rng.integers(0, 3, (shape[0], *shape[2:]))
    labels.flat[1] = 9
    weighted = options.get("weighted")
    options = {key: value for key, value in options.items() if key != "weighted"} | {"ignore_index": 9}
    options |= {"weight": np.array([0.5, 0, 2])} if weighted else {}
    grad = getattr(kernels, f"{name}_input")(z, labels, **options)
    assert grad.shape == shape
    for place in np.ndindex(shape):
        step = np.zeros(shape)
        step[place] = 1e-5
        ahead, behind = (getattr(kernels, name)(z + h, labels, **options) for h in (step, -step))
        np.testing.assert_allclose(grad[place], (ahead - behind) / 2e-5, atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_logits(dtype):
    z = np.array([1e4, -1e4, 1e4], dtype).reshape(1, 3, 1, 1)
    right, wrong = np.array([[[0]]]), np.array([[[1]]])
    np.testing.assert_allclose(kernels.cross_entropy(z, right), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(kernels.cross_entropy(z, wrong), 2e4 + np.log(2), rtol=1e-6)
    assert kernels.cross_entropy_input(z, right).ravel().tolist() == [-0.5, 0, 0.5]
    assert kernels.cross_entropy_input(z, wrong).ravel().tolist() == [0.5, -1, 0.5]
    np.testing.assert_allclose(kernels.dice_loss(z, wrong, smooth=0), 1, rtol=1e-6)
    np.testing.assert_allclose(kernels.dice_loss(z, right, squared=True), 1 - (2 / 2.25 + 1 + 1 / 1.25) / 3, rtol=1e-6)
    z = np.array([-np.inf, 0], dtype).reshape(1, 2, 1, 1)
    assert kernels.cross_entropy(z, right) == np.inf
    assert kernels.cross_entropy(z, wrong) == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_a_number_stays_so(dtype, wrong):
    z = np.zeros((1, 3, 2, 20), dtype)
    z[0, 1, 0, 17] = wrong
    labels = np.zeros((1, 2, 20), int)
    assert np.isnan(kernels.cross_entropy(z, labels))
    assert np.isnan(kernels.dice_loss(z, labels))
    grad = kernels.cross_entropy_input(z, labels)
    assert np.isnan(grad[0, :, 0, 17]).all()
    assert np.isnan(grad).sum() == 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (0, 3, 4, 4), (2, 3, 4, 0), (2, 0, 4, 4), (3, 2), (0, 2)])
@pytest.mark.parametrize("weighted", [False, True])
def test_nothing_but_void(dtype, shape, weighted):
    z, labels = np.ones(shape, dtype), np.full((shape[0], *shape[2:]), 255, np.uint8)
    given = {"ignore_index": 255} | ({"weight": np.ones(shape[1], dtype)} if weighted else {})
    for name in ("cross_entropy", "nll_loss"):
        assert np.isnan(getattr(kernels, name)(z, labels, **given))
        assert getattr(kernels, name)(z, labels, reduction="sum", **given) == 0
        for reduction in ("mean", "sum"):
            grad = getattr(kernels, f"{name}_input")(z, labels, reduction=reduction, **given)
            np.testing.assert_array_equal(grad, np.zeros(shape))
    if not weighted:
        loss = kernels.dice_loss(z, labels, ignore_index=255)
        assert loss == 0 if shape[1] else np.isnan(loss)
        assert not shape[1] or np.isnan(kernels.dice_loss(z, labels, ignore_index=255, smooth=0))
        for smooth in (0, 1):
            grad = kernels.dice_loss_input(z, labels, ignore_index=255, smooth=smooth)
            np.testing.assert_array_equal(grad, np.zeros(shape))


def test_void_pixels_may_hold_anything():
    z, labels = np.zeros((1, 2, 1, 2)), np.array([[[1, 255]]])
    z[..., 1] = np.nan
    assert kernels.cross_entropy(z, labels, ignore_index=255) == np.log(2)
    np.testing.assert_array_equal(
        kernels.cross_entropy_input(z, labels, ignore_index=255)[0, :, 0], [[0.5, 0], [-0.5, 0]]
    )
    assert kernels.nll_loss(z, labels, ignore_index=255) == 0
    assert kernels.dice_loss(z, labels, ignore_index=255) == kernels.dice_loss(z[..., :1], labels[..., :1])
    np.testing.assert_array_equal(kernels.dice_loss_input(z, labels, ignore_index=255)[..., 1], np.zeros((1, 2, 1)))


def test_the_mean_is_over_the_weights_of_pixels_that_count():
    z = np.random.default_rng(0).standard_normal((2, 3, 5, 7))
    labels = np.random.default_rng(1).integers(0, 3, (2, 5, 7))
    labels[:, ::2] = -100
    weight = np.array([0.5, 0, 3])
    counts = [(labels == k).sum() for k in range(3)]
    for name in ("cross_entropy", "nll_loss"):
        function = getattr(kernels, name)
        total, mean = (function(z, labels, reduction=reduction) for reduction in ("sum", "mean"))
        np.testing.assert_allclose(total / mean, sum(counts), rtol=1e-15)
        total, mean = (function(z, labels, weight=weight, reduction=reduction) for reduction in ("sum", "mean"))
        np.testing.assert_allclose(total / mean, weight @ counts, rtol=1e-15)
        same = [function(z, np.where(labels == k, labels, -100), reduction="sum") for k in range(3)]
        np.testing.assert_allclose(total, weight @ same, rtol=1e-14)


def test_weights_that_sum_to_zero_divide_by_it():
    """As in PyTorch."""
    z, labels = np.array([[1.0, 2.0], [5.0, 3.0], [0.0, 0.0]]), np.array([0, 1, 9])
    for name in ("cross_entropy", "nll_loss"):
        function, gradient = getattr(kernels, name), getattr(kernels, f"{name}_input")
        given = {"weight": np.zeros(2), "ignore_index": 9}
        assert np.isnan(function(z, labels, **given))
        assert function(z, labels, reduction="sum", **given) == 0
        grad = gradient(z, labels, **given)
        assert np.isnan(grad[[0, 1], [0, 1]]).all()
        np.testing.assert_array_equal(grad[2], [0, 0])
        assert np.isinf(function(z, labels, weight=np.array([1.0, -1.0]), ignore_index=9))


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "dice_loss"])
def test_any_number_of_axes(name):
    rng = np.random.default_rng(0)
    z, labels = rng.standard_normal((2, 5, 2, 3, 4)), rng.integers(0, 5, (2, 2, 3, 4))
    flat, last = np.moveaxis(z, 1, -1).reshape(-1, 5), labels.ravel()
    for each, of in ((z, labels), (z[:, :, 0], labels[:, 0]), (z[..., 0, 0], labels[..., 0, 0]), (flat, last)):
        together = np.moveaxis(each, 1, -1).reshape(-1, 5)
        loss = getattr(kernels, name)(each, of)
        np.testing.assert_allclose(loss, getattr(kernels, name)(together, of.ravel()), rtol=1e-14)
        grad = getattr(kernels, f"{name}_input")(each, of)
        expected = getattr(kernels, f"{name}_input")(together, of.ravel())
        assert grad.shape == each.shape
        np.testing.assert_allclose(np.moveaxis(grad, 1, -1).reshape(-1, 5), expected, rtol=1e-13, atol=1e-17)


Z, LABELS_OF_Z = np.zeros((2, 3, 4, 4)), np.zeros((2, 4, 4), int)
WRONG = [
    ({"weight": np.ones(2)}, ValueError, r"weight must have shape \(3,\), got \(2,\)"),
    ({"weight": np.ones((3, 1))}, ValueError, "weight must have the 1 axes K"),
    ({"weight": np.ones(3, np.float32)}, TypeError, "weight must be float64 like the first array"),
    ({"weight": [1, 1, 1]}, TypeError, "weight must be a NumPy array"),
    ({"weight": np.array([1, np.nan, np.inf])}, ValueError, "weight must be finite, got nan"),
    ({"weight": np.array([1, 1, -np.inf])}, ValueError, "weight must be finite, got -inf"),
    ({"reduction": "none"}, ValueError, "reduction must be one of 'mean', 'sum', got 'none'"),
    ({"labels": LABELS_OF_Z[:1]}, ValueError, r"labels must have shape \(2, 4, 4\)"),
    ({"labels": LABELS_OF_Z + 3}, IndexError, r"labels must be 0\.\.2 or ignore_index=-100, got 3"),
    ({"labels": LABELS_OF_Z - 1}, IndexError, r"labels must be 0\.\.2 or ignore_index=-100, got -1"),
    ({"labels": LABELS_OF_Z + np.iinfo(int).min}, IndexError, "labels must be .* got -9223372036854775808"),
    ({"labels": (LABELS_OF_Z - 1).astype(">u2")}, IndexError, "labels must be .* got 65535"),
    ({"labels": LABELS_OF_Z + 0.5}, TypeError, "labels must be integers, got float64"),
    ({"labels": np.zeros(2, int), "scores": np.zeros(2)}, ValueError, ".* must have the axes NK or NKHW, got shape"),
]


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "cross_entropy_input", "nll_loss_input"])
@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_wrong_arguments(name, wrong, error, message):
    given = {"scores": Z, "labels": LABELS_OF_Z} | wrong
    scores, labels = given.pop("scores"), given.pop("labels")
    with pytest.raises(error, match=f"{name}: {message}"):
        getattr(kernels, name)(scores, labels, **given)


@pytest.mark.parametrize("name", ["dice_loss", "dice_loss_input"])
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"smooth": -1}, ValueError, "smooth must be at least 0, got -1"),
        ({"smooth": np.inf}, ValueError, "smooth must be finite, got inf"),
        ({"smooth": None}, TypeError, "smooth must be a number, got None"),
        ({"squared": 1}, TypeError, "squared must be True or False, got 1"),
        ({"ignore_index": 0.5}, TypeError, "ignore_index must be an integer, got 0.5"),
    ],
)
def test_wrong_arguments_of_dice(name, wrong, error, message):
    with pytest.raises(error, match=f"{name}: {message}"):
        getattr(kernels, name)(Z, LABELS_OF_Z, **wrong)
