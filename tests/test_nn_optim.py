"""Optimisers against their equations, written out; what they allocate; what they refuse."""

import tracemalloc
from functools import partial

import numpy as np
import pytest

from upconv import nn

EVERY = {
    "SGD": partial(nn.SGD, lr=0.1, momentum=0.9, weight_decay=0.1),
    "Nesterov": partial(nn.SGD, lr=0.1, momentum=0.9, nesterov=True),
    "Adagrad": nn.Adagrad,
    "RMSprop": partial(nn.RMSprop, momentum=0.9),
    "Adam": nn.Adam,
    "AdamW": nn.AdamW,
}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)


def problem(dtype=np.float64):
    rng = np.random.default_rng(0)
    weight = nn.Parameter(rng.standard_normal((4, 3, 3, 2)).astype(dtype).transpose(0, 3, 1, 2))  # channels-last
    return weight, [rng.standard_normal(weight.shape).astype(dtype) for _ in range(5)]


def follows(optimizer, weight, grads, rule, rtol=1e-12):
    """The weight after each step is what rule(w, grad, t) says."""
    w = weight.data.copy()
    for t, grad in enumerate(grads, 1):
        weight.grad = grad.copy()
        optimizer.step()
        w = rule(w, grad, t)
        np.testing.assert_allclose(weight.data, w, rtol=rtol)
        np.testing.assert_array_equal(weight.grad, grad)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd(momentum, nesterov, weight_decay):
    weight, grads = problem()
    v = 0

    def rule(w, grad, t):
        nonlocal v
        g = grad + weight_decay * w
        v = momentum * v + g
        return w - 0.1 * (g + momentum * v if nesterov else v)

    optimizer = nn.SGD([weight], lr=0.1, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
    follows(optimizer, weight, grads, rule)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_adagrad(weight_decay):
    weight, grads = problem()
    r = 0.25

    def rule(w, grad, t):
        nonlocal r
        g = grad + weight_decay * w
        r = r + g**2
        return w - 0.1 / (1 + (t - 1) * 0.5) * g / (np.sqrt(r) + 1e-3)

    options = {"lr_decay": 0.5, "weight_decay": weight_decay, "initial_accumulator_value": 0.25, "eps": 1e-3}
    follows(nn.Adagrad([weight], 0.1, **options), weight, grads, rule)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_rmsprop(momentum, weight_decay):
    weight, grads = problem()
    r = v = 0

    def rule(w, grad, t):
        nonlocal r, v
        g = grad + weight_decay * w
        r = 0.8 * r + (1 - 0.8) * g**2
        v = momentum * v + g / (np.sqrt(r) + 1e-3)
        return w - 0.1 * v

    optimizer = nn.RMSprop([weight], 0.1, alpha=0.8, eps=1e-3, weight_decay=weight_decay, momentum=momentum)
    follows(optimizer, weight, grads, rule)


@pytest.mark.parametrize("make", [nn.Adam, nn.AdamW])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_adam(make, weight_decay):
    weight, grads = problem()
    m = v = 0

    def rule(w, grad, t):
        nonlocal m, v
        g = grad + (weight_decay * w if make is nn.Adam else 0)
        m = 0.8 * m + (1 - 0.8) * g
        v = 0.95 * v + (1 - 0.95) * g**2
        step = 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-3)
        return w - (0.1 * weight_decay * w if make is nn.AdamW else 0) - step

    optimizer = make([weight], lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=weight_decay)
    follows(optimizer, weight, grads, rule)


@every
def test_a_state_that_is_loaded_goes_on_bit_for_bit(make):
    weight, grads = problem(np.float32)
    idle = nn.Parameter(np.ones(3, np.float32))
    first = make([idle, weight])
    states, ends = [], []
    for grad in grads:
        states.append((weight.data.copy(), first.state_dict()))
        weight.grad = grad.copy()
        first.step()
        ends.append(weight.data.copy())
    for (start, state), at in zip(states, range(5), strict=True):
        again = nn.Parameter(start.copy("K"))
        second = make([nn.Parameter(np.ones(3, np.float32)), again])
        second.lr = 99.0
        second.load_state_dict(state)
        assert second.lr == first.lr
        for grad, end in zip(grads[at:], ends[at:], strict=True):
            again.grad = grad.copy()
            second.step()
            np.testing.assert_array_equal(again.data, end)
    assert set(states[0][1]["state"]) == set() and set(states[1][1]["state"]) == {1}


@every
def test_states_that_do_not_fit_are_refused_whole(make):
    weight, grads = problem(np.float32)
    optimizer = make([weight])
    weight.grad = grads[0].copy()
    optimizer.step()
    good = optimizer.state_dict()
    name = optimizer.arrays[0]

    def spoilt(group=(), entry=(), number=0):
        state = {number: {**good["state"][0], **dict(entry)}}
        return {"state": state, "param_groups": [{**good["param_groups"][0], **dict(group)}]}

    for state, message in (
        ({**good, "param_groups": good["param_groups"] * 2}, r"of \[1, 1\] parameters; one group of 1 is needed"),
        (spoilt({"params": [0, 1]}), r"of \[2\] parameters"),
        (spoilt({"maximize": True}), "the state does not fit: maximize is True"),
        (spoilt({"lr": -1}), "lr is -1"),
        (spoilt(entry={name: np.ones((2, 3))}), rf"{name} of parameter 0 is float64 \(2, 3\), the parameter"),
        (spoilt(entry={name: np.ones(weight.shape, int)}), "is int64"),
        (spoilt(number=7), "there is no parameter 7"),
    ):
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["param_groups"] == good["param_groups"]
    np.testing.assert_array_equal(after["state"][0][name], good["state"][0][name])


def test_clip_grad_norm():
    parameters = [nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros((1, 1), np.float32)), nn.Parameter(np.zeros(3))]
    parameters[0].grad, parameters[1].grad = np.array([3.0, 0.0]), np.array([[4.0]], np.float32)
    held = parameters[0].grad
    assert nn.clip_grad_norm_(parameters, 6.0) == 5
    np.testing.assert_array_equal(held, [3, 0])
    assert nn.clip_grad_norm_(parameters, 1.0) == 5
    assert parameters[0].grad is held and parameters[2].grad is None
    np.testing.assert_allclose(held, [0.6, 0], rtol=1e-6)
    np.testing.assert_allclose(parameters[1].grad, [[0.8]], rtol=1e-6)
    held[0] = np.inf
    assert nn.clip_grad_norm_(parameters, 1.0) == np.inf
    np.testing.assert_allclose(parameters[1].grad, [[0.8]], rtol=1e-6)
    parameters[0].grad = np.full(2, 1e30, np.float32)  # whose squares no float32 holds
    assert nn.clip_grad_norm_(parameters[:1], 1.0) == pytest.approx(2**0.5 * 1e30)
    np.testing.assert_allclose(parameters[0].grad, [0.5**0.5] * 2, rtol=1e-5)
    for bad in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="clip_grad_norm_: max_norm is"):
            nn.clip_grad_norm_(parameters, bad)


@every
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
        (lambda p: nn.AdamW(p, weight_decay=-1), ValueError, "AdamW: weight_decay is -1"),
        (lambda p: nn.SGD(p, lr=0.1, nesterov=True), ValueError, "momentum is 0.0; with nesterov=True"),
        (lambda p: nn.Adagrad(p, lr_decay=-1), ValueError, "lr_decay is -1"),
        (lambda p: nn.RMSprop(p, alpha=1), ValueError, "alpha is 1"),
    ],
)
def test_what_optimisers_refuse(make, error, match):
    with pytest.raises(error, match=match):
        make([nn.Parameter(np.ones(1))])


@every
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


@every
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
