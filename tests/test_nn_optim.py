"""Optimisers against their equations, written out; what they allocate; what they refuse."""

import tracemalloc

import numpy as np
import pytest

from upconv import nn


def problem(dtype=np.float64):
    rng = np.random.default_rng(0)
    weight = nn.Parameter(rng.standard_normal((4, 3, 3, 2)).astype(dtype).transpose(0, 3, 1, 2))  # channels-last
    return weight, [rng.standard_normal(weight.shape).astype(dtype) for _ in range(5)]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd(momentum, weight_decay):
    weight, grads = problem()
    w, v = weight.data.copy(), 0
    optimizer = nn.SGD([weight], lr=0.1, momentum=momentum, weight_decay=weight_decay)
    for grad in grads:
        weight.grad = grad.copy()
        optimizer.step()
        v = momentum * v + grad + weight_decay * w
        w = w - 0.1 * v
        np.testing.assert_allclose(weight.data, w, rtol=1e-13)
        np.testing.assert_array_equal(weight.grad, grad)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_adam(weight_decay):
    weight, grads = problem()
    w, m, v = weight.data.copy(), 0, 0
    optimizer = nn.Adam([weight], lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=weight_decay)
    for t, grad in enumerate(grads, 1):
        weight.grad = grad.copy()
        optimizer.step()
        g = grad + weight_decay * w
        m = 0.8 * m + (1 - 0.8) * g
        v = 0.95 * v + (1 - 0.95) * g**2
        w = w - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-3)
        np.testing.assert_allclose(weight.data, w, rtol=1e-12)
        np.testing.assert_array_equal(weight.grad, grad)


@pytest.mark.parametrize("make", [lambda p: nn.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1), nn.Adam])
def test_steps_are_in_place_and_allocate_nothing(make):
    weights = [nn.Parameter(np.ones((64, 32, 3, 3), np.float32)), nn.Parameter(np.ones(64, np.float32))]
    held = [weight.data for weight in weights]
    optimizer = make(weights)
    for weight in weights:
        weight.grad = np.ones_like(weight.data)
    optimizer.step()
    tracemalloc.start()
    optimizer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < weights[0].data.nbytes / 8
    assert all(weight.data is data and weight.dtype == np.float32 for weight, data in zip(weights, held, strict=True))


def test_the_learning_rate_may_change_and_parameters_without_gradient_stay():
    weight, idle = nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2))
    optimizer = nn.SGD([weight, idle], lr=1.0)
    weight.grad = np.ones(2)
    optimizer.step()
    optimizer.lr = 0.25
    optimizer.step()
    np.testing.assert_array_equal(weight.data, [-0.25, -0.25])
    np.testing.assert_array_equal(idle.data, [1, 1])
    optimizer.zero_grad()
    assert weight.grad is None


def test_the_state_follows_a_model_that_is_converted():
    layer = nn.Conv2d(2, 2, 3, rng=0)
    before = layer.weight.data.copy()
    optimizer = nn.SGD(layer.parameters(), lr=1.0, momentum=0.5)
    for dtype in (np.float32, np.float64):
        layer.to(dtype)
        for parameter in layer.parameters():
            parameter.grad = np.ones_like(parameter.data)
        optimizer.step()
    assert layer.weight.dtype == np.float64
    np.testing.assert_allclose(layer.weight.data, before - 1 - 1.5, atol=1e-6)


def test_a_parameter_given_twice_is_stepped_once():
    weight = nn.Parameter(np.ones(1))
    optimizer = nn.SGD([weight, weight], lr=1.0)
    weight.grad = np.ones(1)
    optimizer.step()
    assert weight.data == 0


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda p: nn.SGD([], lr=0.1), ValueError, "SGD: params is empty"),
        (lambda p: nn.SGD([np.ones(1)], lr=0.1), TypeError, "SGD: params holds a ndarray"),
        (lambda p: nn.SGD(p, lr=-1), ValueError, r"SGD: lr is -1; it must be in \[0, inf\)"),
        (lambda p: nn.SGD(p, lr=float("nan")), ValueError, "lr is nan"),
        (lambda p: nn.SGD(p, lr=0.1, momentum=1), ValueError, "momentum is 1"),
        (lambda p: nn.Adam(p, betas=(0.9, 1.0)), ValueError, r"betas\[1\] is 1\.0"),
        (lambda p: nn.Adam(p, eps=-1), ValueError, "eps is -1"),
    ],
)
def test_what_optimisers_refuse(make, error, match):
    with pytest.raises(error, match=match):
        make([nn.Parameter(np.ones(1))])


@pytest.mark.parametrize("make", [lambda p: nn.SGD(p, lr=0.1, momentum=0.9), nn.Adam])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: np.pad(x, ((0, 0), (1, 2)))[:, 1:-2],
        lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
        lambda x: np.frombuffer(b"0" + x.tobytes(), np.uint8).copy()[1:].view(x.dtype).reshape(x.shape),
    ],
)
def test_any_memory_gives_the_same_steps(make, spoil):
    plain = np.arange(12, dtype=np.float32).reshape(3, 4)
    weights = [nn.Parameter(plain.copy()), nn.Parameter(spoil(plain)), nn.Parameter(plain.copy())]
    optimizer, grad = make(weights), (plain - 5) / 3
    held = weights[1].data
    for _ in range(3):
        for weight, each in zip(weights, (grad, grad, spoil(grad)), strict=True):
            weight.grad = each.copy() if each is grad else each
        optimizer.step()
    assert weights[1].data is held
    for weight in weights[1:]:
        np.testing.assert_array_equal(weight.data, weights[0].data)


@pytest.mark.parametrize("make", [lambda p: nn.SGD(p, lr=0.1), nn.Adam])
def test_steps_refuse_what_cannot_be_updated_and_leave_it_alone(make):
    def step(data, grad):
        weight = nn.Parameter(data)
        weight.grad = grad
        make([weight]).step()

    read_only = np.ones(3)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match=r"a parameter of shape \(3,\) is read-only"):
        step(read_only, np.ones(3))
    assert (read_only == 1).all()
    with pytest.raises(TypeError, match="a parameter has dtype <f2; native float32 or float64 is needed"):
        step(np.ones(3, np.float16), np.ones(3, np.float16))
    with pytest.raises(TypeError, match="a parameter has dtype >f4"):
        step(np.ones(3, ">f4"), np.ones(3, ">f4"))
    with pytest.raises(ValueError, match=r"a parameter of shape \(3,\) has a gradient of shape \(2,\)"):
        step(np.ones(3), np.ones(2))
    weight = nn.Parameter(np.ones(3))
    optimizer, weight.grad = make([weight]), np.ones(3)
    optimizer.step()
    weight.data, weight.grad = np.ones(5), np.ones(5)
    with pytest.raises(ValueError, match=r"a parameter of shape \(3,\) has become one of \(5,\)"):
        optimizer.step()
    assert (weight.data == 1).all()
