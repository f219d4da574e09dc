"""The functions that are made from the operators' declarations: values, gradients, text, errors, what is kept."""

import gc
import inspect
import weakref

import numpy as np
import pytest
from nn_cases import leaves, rand

from benchmarks.calls import draw
from upconv import kernels, nn
from upconv.kernels.op import OPERATORS

F = nn.functional
DERIVED = sorted(name for name, op in OPERATORS.items() if op.gradients)
BY_HAND = {"batch_norm", "dropout", "max_pool2d"}  # with other arguments than their kernels
STEP = 1e-6


def sources(name):
    """The arguments that an operator has gradients for."""
    found = [each for of in OPERATORS[name].gradients for each in ((of,) if isinstance(of, str) else of)]
    return found + ["bias"] * ("bias" in inspect.signature(getattr(kernels, name)).parameters and "bias" not in found)


def function(name):
    return F._derived[name] if name in BY_HAND else getattr(F, name)


def several(result):
    return result if isinstance(result, tuple) else (result,)


def leaf(*shape):
    return leaves(rand(*shape))[0]


def test_there_is_one_for_every_operator_with_gradients():
    assert {"conv2d", "max_unpool2d", "relu", "softmax", "cross_entropy"} < set(DERIVED)
    assert set(F.__all__) == {
        *DERIVED,
        "batch_norm",
        "concatenate",
        "crop",
        "dropout",
        "flatten",
        "max_pool2d",
        "unflatten",
    }
    for name in F.__all__:
        assert getattr(nn, name) is getattr(F, name) and name in nn.__all__


@pytest.mark.parametrize("name", sorted({*DERIVED} - {"max_pool2d"}))
@pytest.mark.parametrize("seed", range(6))
def test_values_are_the_kernels_and_gradients_are_slopes(name, seed):
    rng = np.random.default_rng([seed, *name.encode()])
    call = draw(name, rng, dtype=np.float64)
    expected = getattr(kernels, name)(**call)
    leaves = {each: nn.Tensor(call[each], requires_grad=True) for each in sources(name) if call[each] is not None}
    result = function(name)(**{**call, **leaves})
    assert isinstance(result, tuple) == isinstance(expected, tuple)
    for ours, theirs in zip(several(result), several(expected), strict=True):
        np.testing.assert_array_equal(ours.data, theirs)
    y = several(result)[0]
    if not y.size or not np.isfinite(y.data).all():
        return
    weights = rng.standard_normal(y.shape)
    y.backward(weights)
    for each, tensor in leaves.items():
        direction = rng.standard_normal(tensor.shape)
        above, below = (
            several(getattr(kernels, name)(**{**call, each: call[each] + step * direction}))[0]
            for step in (STEP, -STEP)
        )
        slope = ((above - below) * weights).sum() / (2 * STEP)
        assert tensor.grad.shape == tensor.shape and tensor.grad.dtype == np.float64
        scale = np.linalg.norm(tensor.grad) + 1
        assert abs((tensor.grad * direction).sum() - slope) <= 1e-5 * scale, (each, call)


@pytest.mark.parametrize("name", sorted({*DERIVED} - BY_HAND))
def test_signature_and_text_are_the_kernels(name):
    ours, theirs = getattr(F, name), getattr(kernels, name)
    parameters = inspect.signature(ours).parameters.values()
    expected = inspect.signature(theirs).parameters.values()
    assert [(p.name, p.kind, p.default) for p in parameters] == [(p.name, p.kind, p.default) for p in expected]
    assert all(issubclass(nn.Tensor, p.annotation.__args__) for p in parameters if p.name in sources(name))
    assert (ours.__name__, ours.__module__) == (name, "upconv.nn.functional")
    lines, text = inspect.getdoc(ours).splitlines(), inspect.getdoc(theirs)
    assert lines[0] == text.splitlines()[0]
    assert all(each in lines[2] for each in (f"`upconv.kernels.{name}`", *sources(name)))
    assert "\n".join(lines[3:]) == text.partition("\n")[2]


def test_errors_are_the_kernels():
    x = np.zeros((1, 2, 3, 3))
    with pytest.raises(ValueError, match="conv2d: weight must have the 4 axes"):
        F.conv2d(x, x[0])
    with pytest.raises(TypeError, match="conv2d: missing a required argument: 'weight'"):
        F.conv2d(nn.Tensor(x))
    with pytest.raises(TypeError, match="relu: got an unexpected keyword argument 'slope'"):
        F.relu(x, slope=1)


def test_nothing_is_recorded_without_need(traced):
    x, w = leaf(1, 2, 4, 4), leaf(3, 2, 3, 3)
    with nn.no_grad():
        assert not F.conv2d(x, w).requires_grad
    y = F.conv2d(x.data, w)
    y.backward(np.ones(y.shape))
    assert x.grad is None and w.grad is not None
    assert traced == ["conv2d", "conv2d", "conv2d_weight"]


def test_only_what_a_gradient_asks_for_is_kept():
    x = leaf(1, 2, 4, 4)
    between = x * 1.0
    kept, dropped = F.relu(between), weakref.ref(between.data)
    result = kept * 1.0
    del between
    gc.collect()
    assert dropped() is None  # relu's gradient asks for its result alone
    needed = weakref.ref(kept.data)
    del kept
    gc.collect()
    assert needed() is not None
    result.backward(np.ones(result.shape))


def test_what_has_no_gradient_is_refused():
    x, indices = leaf(1, 1, 2, 2), np.zeros((1, 1, 2, 2), np.int64)
    values = nn.Tensor(np.zeros((1, 1, 2, 2)), requires_grad=True)
    with pytest.raises(ValueError, match=r"max_unpool2d: indices has no gradient here; give indices\.detach\(\)"):
        F.max_unpool2d(x, values, 2)
    assert F.max_unpool2d(x, nn.Tensor(indices), 2).requires_grad


def test_out():
    x, w = leaf(1, 2, 4, 4), leaf(2, 2, 1, 1)
    out = np.empty((1, 2, 4, 4))
    y = F.conv2d(x, w, out=out)
    assert y.data is out and y.requires_grad
    with pytest.raises(ValueError, match="relu: out must share no memory"):
        F.relu(x, out=x.data)
    with nn.no_grad():
        assert F.relu(x, out=x.data).data is x.data


def test_the_reference_is_followed_by_the_references_gradient(monkeypatch):
    from upconv.kernels import op

    ran = []
    monkeypatch.setattr(op, "trace", [lambda operator, variant, *_: ran.append((operator.name, variant.name))])
    y = F.softmax(leaf(1, 2, 2, 2), algorithm="reference")
    y.backward(np.ones(y.shape))
    F.softmax(leaf(1, 2, 2, 2), algorithm="direct").backward(np.ones(y.shape))
    assert ran == [(name, by) for by in ("reference", "direct") for name in ("softmax", "softmax_input")]


@pytest.mark.parametrize("activation", [None, "relu"])
def test_one_image_without_its_axis(activation):
    x, w, b = leaf(2, 5, 6), leaf(3, 2, 3, 2), leaf(3)
    batch = nn.Tensor(x.data[None], requires_grad=True)
    grad = np.random.default_rng(0).standard_normal((3, 3, 5))
    F.conv2d(x, w, b, activation=activation).backward(grad)
    alone = x.grad, w.grad, b.grad
    w.grad = b.grad = None
    F.conv2d(batch, w, b, activation=activation).backward(grad[None])
    for ours, theirs in zip(alone, (batch.grad[0], w.grad, b.grad), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_loss_is_multiplied_by_what_comes_from_above():
    x, labels = leaf(2, 3, 4, 4), np.zeros((2, 4, 4), np.int64)
    F.cross_entropy(x, labels).backward()
    once, x.grad = x.grad, None
    (F.cross_entropy(x, labels) * -2.5).backward()
    np.testing.assert_allclose(x.grad, -2.5 * once, rtol=1e-12)


def test_gradients_that_come_from_above_are_left_alone():
    x = leaf(1, 2, 3, 3)
    grad = np.random.default_rng(0).standard_normal(x.shape)
    before = grad.copy()
    F.relu(x).backward(grad)
    np.testing.assert_array_equal(grad, before)


def test_unflatten():
    (x,) = leaves(rand(2, 12, 3))
    y = F.unflatten(x, 1, (2, 6))
    np.testing.assert_array_equal(y.data, x.data.reshape(2, 2, 6, 3))
    weights = rand(*y.shape, seed=1)
    (y * weights).sum().backward()
    np.testing.assert_array_equal(x.grad, weights.reshape(x.shape))
    assert F.unflatten(x, -1, (3, 1)).shape == (2, 12, 3, 1)
    with pytest.raises(ValueError, match=r"unflatten: sizes \(5, 2\) do not fit the 12 elements of axis 1"):
        F.unflatten(x, 1, (5, 2))


def test_flatten():
    x = leaf(2, 3, 4, 5)
    x.data = kernels.channels_last(x.data)
    y = F.flatten(x)
    np.testing.assert_array_equal(y.data, np.ascontiguousarray(x.data).reshape(2, 60))
    grad = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(grad)
    np.testing.assert_array_equal(x.grad, grad.reshape(x.shape))
    assert F.flatten(x, 0).shape == (120,) and F.flatten(x, -3, -2).shape == (2, 12, 5)
    assert F.flatten(np.zeros((0, 3, 2))).shape == (0, 6)
    with pytest.raises(ValueError, match="flatten: start_dim=2 comes after end_dim=1"):
        F.flatten(x, 2, 1)
