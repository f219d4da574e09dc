"""The same numbers as PyTorch's, for every operator, its options and its gradients: `make test-pytorch`.

PyTorch is no dependency of the tests: without it these are skipped. What is compared with what is in
benchmarks/peers/pytorch_functions.py.
"""

from itertools import product
from math import prod

import numpy as np
import pytest
from kernel_cases import DTYPES, FORMATS, REPEATED, changed

from benchmarks.calls import draw, forward_of
from benchmarks.rules import Impossible
from upconv import kernels, nn
from upconv.kernels.op import OPERATORS

pytestmark = pytest.mark.pytorch

CALLS = 200  # drawn for each operator and dtype
WITHOUT = {
    "dropout": "its random numbers are its own; see test_dropout_drops_and_scales_as_pytorch_does",
    "max_pool2d_indices": "it ends what max_pool2d_offsets begins; see test_offsets_become_pytorchs_indices",
}
KEEPING = [format for format in FORMATS if format not in REPEATED]  # every number
ONE_IMAGE = {
    *("avg_pool2d", "bias_relu_input", "channel_sum", "conv2d", "conv_transpose2d", "global_avg_pool2d"),
    *("global_max_pool2d", "max_pool2d", "max_pool2d_offsets", "max_unpool2d", "unpool2d"),
}
CONVOLVING = {"conv2d", "conv_transpose2d", "linear"}
FORWARD = [name for name in OPERATORS if not forward_of(name)]
COMPARED = [name for name in FORWARD if name not in WITHOUT]
DIFFERENTIABLE = [name for name in COMPARED if OPERATORS[name].gradients]
OF_ANY_AXES = [name for name in COMPARED if name not in {*ONE_IMAGE, "concatenate", "interpolate"}]
SPECIAL = (np.inf, -np.inf, 1e4, -1e4, 0.0, -0.0)
NO_INFINITIES = {
    "binary_cross_entropy_with_logits",  # ours gives the limits, PyTorch NaN
    "interpolate",  # a weight that is 0 but for rounding makes NaN of them, or not
}
SIDES = ((0, 1), (1, 0))
POOLING = {
    "kernel_size": (1, 2, 3, (2, 3)),
    "stride": (None, 1, 2, (3, 2)),
    "padding": (0, 1, (0, 1), SIDES),
    "ceil_mode": (False, True),
}
LABELLED = {"shape": ((4, 3), (2, 3, 4, 5), (2, 1, 3), (0, 3, 2, 2)), "ignore_index": (-100, -1, 0, 255)}
DRAWN = "drawn"
OPTIONS = {
    "conv2d": {
        "stride": (1, 2, (2, 3)),
        "padding": (0, 1, (1, 2), ((0, 1), (2, 0)), "same", "valid"),
        "dilation": (1, 2, (1, 3)),
        "groups": (1, 2, 3),
        "activation": (None, "relu"),
    },
    "conv_transpose2d": {
        "stride": (1, 2, (2, 3)),
        "padding": (0, 1, (0, 2), ((0, 1), (2, 0))),
        "dilation": (1, 2, (1, 3)),
        "groups": (1, 2),
        "output_size": (None, DRAWN),
    },
    "max_pool2d": POOLING | {"dilation": (1, 2), "return_indices": (False, True)},
    "avg_pool2d": POOLING | {"count_include_pad": (False, True), "divisor_override": (None, 3, -2)},
    "max_unpool2d": {
        "kernel_size": (2, 3, (2, 3)),
        "stride": (None, 2, (3, 2)),
        "padding": (0, 1, SIDES),
        "output_size": (None, DRAWN),
    },
    "interpolate": {
        "mode": ("nearest", "bilinear", "bicubic"),
        "align_corners": (False, True),
        "shape": ((2, 3, 1, 1), (1, 2, 5, 8), (0, 2, 5, 8), (2, 1, 7, 3)),
        "size": (None, 1, 4, (3, 8), (13, 2)),
        "scale_factor": (None, 0.5, 1.0, 2, 1.7, (0.4, 3), (2.5, 0.9)),
    },
    "batch_norm": {"weight": (None, DRAWN), "bias": (None, DRAWN), "eps": (0, 1e-5), "activation": (None, "relu")},
    "batch_norm_training": {"weight": (None, DRAWN), "bias": (None, DRAWN), "eps": (1e-5, 0.1)},
    "linear": {"shape": ((4,), (3, 4), (0, 4), (2, 3, 4)), "bias": (None, DRAWN), "activation": (None, "relu")},
    "cross_entropy": LABELLED | {"weight": (None, DRAWN), "reduction": ("mean", "sum")},
    "nll_loss": LABELLED | {"weight": (None, DRAWN), "reduction": ("mean", "sum")},
    "dice_loss": LABELLED | {"smooth": (0.0, 1.0), "squared": (False, True)},
    "binary_cross_entropy_with_logits": {
        "shape": ((4, 3), (2, 3, 4, 5), (0, 3)),
        "weight": (None, DRAWN),
        "pos_weight": (None, DRAWN),
        "reduction": ("mean", "sum"),
    },
}
every = pytest.mark.parametrize("name", COMPARED)
of_each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


@pytest.fixture(scope="module")
def pytorch():
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    import pytorch_cases

    return pytorch_cases


def drawn(name, rng, **given):
    """A call; no two indices of a plane are equal, for what PyTorch does with those is left open."""
    given = {key: value for key, value in given.items() if not (isinstance(value, str) and value == DRAWN)}
    arguments = draw(name, rng, **given)
    if name == "max_unpool2d":
        n, c, h, w = arguments["x"].shape
        pixels = prod(OPERATORS[name].rule(**arguments).outputs[0].shape[2:])
        if h * w > pixels:
            raise Impossible("the result has fewer pixels than its input")
        arguments["indices"] = np.argsort(rng.random((n, c, pixels)))[:, :, : h * w].reshape(n, c, h, w)
    return {key: value for key, value in arguments.items() if key not in ("algorithm", "out", "precision")}


def one_image(arguments):
    """The call without the axis of images."""
    return {
        key: value if key == "weight" else changed(value, lambda x: x[0] if x.ndim == 4 else x)
        for key, value in arguments.items()
    }


def first(arguments):
    return next(iter(arguments.values()))


def test_every_operator_has_a_counterpart_or_a_reason_why_not(pytorch):
    assert {*pytorch.COUNTERPARTS} == {*COMPARED}
    assert {*WITHOUT} < {*FORWARD}


@every
@of_each_dtype
def test_drawn_calls(pytorch, name, dtype):
    compared = 0
    for seed in range(3 * CALLS):
        rng = np.random.default_rng([seed, *name.encode()])
        try:
            arguments = drawn(name, rng, dtype=dtype, real=bool(rng.integers(2)))
        except Impossible:
            continue
        if name in ONE_IMAGE and len(first(arguments)) and rng.random() < 0.2:
            arguments = one_image(arguments)
        pytorch.compare(name, arguments, KEEPING[rng.integers(len(KEEPING))])
        pytorch.compare_gradients(name, arguments, rng)
        compared += 1
        if compared == CALLS:
            return
    pytest.fail(f"only {compared} calls could be drawn")


@pytest.mark.parametrize("name", OPTIONS)
@of_each_dtype
def test_all_options_together(pytorch, name, dtype):
    """What we refuse, PyTorch refuses, has nothing to give for, or has no word for, as for padding per side."""
    impossible = 0
    choices = list(product(*OPTIONS[name].values()))
    for number, values in enumerate(choices):
        rng = np.random.default_rng(number)
        try:
            arguments = drawn(name, rng, dtype=dtype, **dict(zip(OPTIONS[name], values, strict=True)))
        except Impossible:
            impossible += 1
            continue
        try:
            OPERATORS[name].rule(**arguments)
        except ValueError:
            if arguments.get("padding") != SIDES:
                assert pytorch.refused_or_empty(name, arguments)
            continue
        pytorch.compare(name, arguments)
        pytorch.compare_gradients(name, arguments, rng)
    assert impossible <= len(choices) // 2


@pytest.mark.parametrize("name", OF_ANY_AXES)
@pytest.mark.parametrize("shape", [(), (7,), (5, 3), (2, 3, 4), (0, 3), (2, 3, 4, 2, 5)], ids=str)
def test_arrays_of_any_axes(pytorch, name, shape):
    rng = np.random.default_rng(0)
    try:
        arguments = drawn(name, rng, shape=shape)
        OPERATORS[name].rule(**arguments)
    except (Impossible, ValueError):
        pytest.skip("it has no such call")
    pytorch.compare(name, arguments)
    pytorch.compare_gradients(name, arguments, rng)


@pytest.mark.parametrize("name", [name for name in COMPARED if name not in CONVOLVING])
@of_each_dtype
def test_nan_infinities_and_large_numbers(pytorch, name, dtype):
    """One NaN in an array: of several in a window ours is the first, PyTorch's the last."""
    values = SPECIAL[2:] if name in NO_INFINITIES else SPECIAL
    for seed in range(60):
        rng = np.random.default_rng(seed)

        def spoilt(x, rng=rng):
            x = np.where(rng.random(x.shape) < 0.3, rng.choice(values, x.shape), x).astype(x.dtype)
            if x.size and rng.integers(2):
                x.flat[rng.integers(x.size)] = np.nan
            return x

        padding = int(rng.integers(2))
        arguments = drawn(name, rng, dtype=dtype, kernel_size=3, stride=2, padding=padding, output_size=None)
        key = next(iter(arguments))
        arguments[key] = changed(arguments[key], spoilt)
        pytorch.compare(name, arguments)
        pytorch.compare_gradients(name, arguments, rng)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@of_each_dtype
def test_the_tape_sends_back_what_autograd_does(pytorch, name, dtype):
    """The bias and the activation included."""
    compared = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, *name.encode()])
        try:
            arguments = drawn(name, rng, dtype=dtype, activation=(None, "relu")[seed % 2])
        except Impossible:
            continue
        compared += pytorch.compare_tape(name, arguments, rng)
    assert compared > 30


@of_each_dtype
@pytest.mark.parametrize("training", [True, False])
def test_running_statistics(pytorch, dtype, training):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        momentum = (0.1, 0.5, 1.0)[seed % 3]
        x = rng.standard_normal((3, 5, 1 + seed % 3, 2)).astype(dtype)
        pytorch.compare_running_statistics(x, rng, training=training, momentum=momentum)


@of_each_dtype
def test_offsets_become_pytorchs_indices(pytorch, dtype):
    for seed in range(CALLS):
        rng = np.random.default_rng(seed)
        window = drawn("max_pool2d", rng, dtype=dtype, real=bool(seed % 2)) | {"return_indices": True}
        _, expected = pytorch.values("max_pool2d")(window, dtype)
        x, _ = window.pop("x"), window.pop("return_indices")
        offsets = kernels.max_pool2d_offsets(x, **window)[1]
        np.testing.assert_array_equal(kernels.max_pool2d_indices(x.shape, offsets, **window), expected)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout_drops_and_scales_as_pytorch_does(pytorch, p):
    x = np.ones((100, 1000))
    expected = pytorch.torch.nn.functional.dropout(pytorch.torch.from_numpy(x), p).numpy()
    for y in (kernels.dropout(x, p=p, seed=3), kernels.dropout_input(x, p=p, seed=3)):
        assert {*np.unique(y)} == {*np.unique(expected)}
        assert abs(np.mean(y == 0) - p) < 5 * np.sqrt(p * (1 - p) / x.size) + 1e-12


OPTIMISERS = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    ("SGD", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.1}),
    ("RMSprop", {"weight_decay": 0.01, "momentum": 0.9}),
    ("RMSprop", {}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.01}),
    ("AdamW", {"lr": 0.1, "betas": (0.8, 0.9)}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMISERS)
def test_optimisers_step_alike_and_take_each_others_state(pytorch, name, options):
    torch, rng = pytorch.torch, np.random.default_rng(0)
    ours = nn.Parameter(rng.standard_normal((3, 2, 3, 3)))
    theirs = torch.nn.Parameter(torch.from_numpy(ours.data.copy()))

    def made():
        return getattr(nn, name)([ours], **options), getattr(torch.optim, name)([theirs], **options)

    mine, its = made()
    for step in range(6):
        if step == 3:  # the states change hands
            states = mine.state_dict(), its.state_dict()
            mine, its = made()
            mine.load_state_dict(states[1])
            for key in mine.arrays:
                states[0]["state"][0][key] = torch.from_numpy(states[0]["state"][0][key])
            states[0]["state"][0]["step"] = torch.tensor(float(states[0]["state"][0]["step"]))
            groups = its.state_dict()["param_groups"]
            its.load_state_dict({**states[0], "param_groups": [{**groups[0], **states[0]["param_groups"][0]}]})
        grad = rng.standard_normal(ours.shape)
        ours.grad, theirs.grad = grad.copy(), torch.from_numpy(grad.copy())
        assert nn.clip_grad_norm_([ours], 5.0) == pytest.approx(float(torch.nn.utils.clip_grad_norm_([theirs], 5.0)))
        mine.step()
        its.step()
        np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-10)


def test_schedules_are_those_of_pytorch(pytorch):
    lr_scheduler, steps = pytorch.torch.optim.lr_scheduler, 50
    for theirs, ours in (
        (lambda o: lr_scheduler.CosineAnnealingLR(o, steps), lambda t: nn.schedules.cosine(t, steps)),
        (lambda o: lr_scheduler.StepLR(o, 7, gamma=0.3), lambda t: nn.schedules.step(t, 7, gamma=0.3)),
        (lambda o: lr_scheduler.PolynomialLR(o, steps, power=0.9), lambda t: nn.schedules.polynomial(t, steps)),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=steps), lambda t: nn.schedules.one_cycle(t, steps)),
    ):
        optimizer = pytorch.torch.optim.SGD([pytorch.torch.nn.Parameter(pytorch.torch.zeros(1))], lr=1.0)
        schedule = theirs(optimizer)
        for t in range(1, steps + 1):
            assert ours(t) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9, abs=1e-12)
            optimizer.step()
            if t < steps:
                schedule.step()
