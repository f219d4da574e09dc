"""A call beside its counterpart in PyTorch: the same values, the same gradients. Importing this needs torch."""

import numpy as np
import torch
import torch.nn.functional as F
from kernel_cases import arranged, changed, several

from benchmarks.calls import draw, function
from benchmarks.peers.pytorch_functions import COUNTERPARTS
from upconv import nn
from upconv.kernels.op import OPERATORS

STEP = 1e-6
KINKED = {"max_pool2d", "max_pool2d_offsets", "global_max_pool2d", "l1_loss"}  # their gradients jump at ties

torch.set_num_threads(1)  # the arrays are small


def real(how):
    """`how` of arrays of real numbers, the others as they are."""
    return lambda x: how(x) if x.dtype.kind == "f" else x


def tensors(arguments, dtype, learned=()):
    """The arguments for PyTorch, those that are `learned` with a gradient."""
    found = {
        key: changed(
            changed(value, real(lambda x: x.astype(dtype))), lambda x: torch.from_numpy(np.array(x, order="C"))
        )
        for key, value in arguments.items()
    }
    for key in learned:
        found[key].requires_grad_()
    return found


def moved(arguments, only):
    """The arguments with every number, or those of `only`, changed relatively by STEP."""
    rng = np.random.default_rng(0)
    move = real(lambda x: np.asarray(x * (1 + STEP * rng.uniform(-2, 2, x.shape))))
    return {key: changed(value, move) if only in (None, key) else value for key, value in arguments.items()}


def check(results, counterpart, arguments, flops, only=None, least=0.0):
    """`results` are what `counterpart` gives of the arguments and a dtype, up to the rounding of two stable algorithms.

    The bound is that of kernel_cases.check_against_reference, for either. only: whose changes change the result
    smoothly; None: everyone's. least: the size of what is added up, where the result alone does not show it.
    """
    results = [np.asarray(each) for each in results]
    dtype = next(each.dtype for each in results if each.dtype.kind == "f")
    eps, operations = np.finfo(dtype).eps, 16 + flops // max(1, results[0].size)
    expected = counterpart(arguments, dtype)
    double = {key: changed(value, real(lambda x: x.astype(np.float64))) for key, value in arguments.items()}
    exact, near = counterpart(double, np.float64), counterpart(moved(double, only), np.float64)
    assert len(results) == len(expected)
    for result, theirs, best, other in zip(results, expected, exact, near, strict=True):
        assert result.shape == theirs.shape
        if result.dtype.kind != "f":
            np.testing.assert_array_equal(result, theirs)
            continue
        assert result.dtype == theirs.dtype
        with np.errstate(invalid="ignore"):
            finite = np.isfinite(best) & np.isfinite(other)
            size = abs(best[finite]).max(initial=least) + abs(other - best)[finite].max(initial=0) / STEP
        np.testing.assert_allclose(result, theirs, rtol=2 * eps, atol=2 * eps * operations * size)


def values(name):
    """What gives PyTorch's results."""

    def theirs(arguments, dtype):
        return [each.numpy() for each in several(COUNTERPARTS[name](**tensors(arguments, dtype)))]

    return theirs


def compare(name, arguments, format=None):
    """The operator gives PyTorch's results of these arguments, which it gets in memory of this format."""
    given = arguments
    if format is not None:
        given = {key: changed(value, lambda x: arranged(x, format)) for key, value in arguments.items()}
    check(several(function(name)(**given)), values(name), arguments, OPERATORS[name].rule(**arguments).flops)


def refused_or_empty(name, arguments):
    """Whether PyTorch refuses the call, or gives nothing for it."""
    try:
        results = COUNTERPARTS[name](**tensors(arguments, np.float32))
    except (ValueError, RuntimeError):
        return True
    return not several(results)[0].numel()


def autograd(name, of):
    """What gives PyTorch's gradients with respect to the arguments `of`; `grad`, if there is one, is the result's."""

    def theirs(arguments, dtype):
        inputs = tensors(arguments, dtype, of)
        grad = inputs.pop("grad", None)
        y = several(COUNTERPARTS[name](**inputs))[0]
        return [each.numpy() for each in torch.autograd.grad(y, [inputs[each] for each in of], grad)]

    return theirs


def compare_gradients(name, arguments, rng):
    """The operators of the gradients give what autograd gives."""
    arguments = {key: None if key == "activation" else value for key, value in arguments.items()}
    only = "grad" if name in KINKED else None
    for argument, gradient in OPERATORS[name].gradients.items():
        of = [each for each in several(argument) if arguments[each] is not None]
        if not of:
            continue
        given = draw(gradient.op.name, rng, dtype=arguments[of[0]].dtype, **arguments)
        known = arguments | {key: value for key, value in given.items() if key == "grad"}
        parts = dict(zip(several(argument), several(gradient(**given)), strict=True))
        results, flops = [parts[each] for each in of], gradient.op.rule(**given).flops
        least = abs(given["grad"]).max(initial=0) if "y" in given else 0.0  # y was rounded before: 1 - y^2 is not exact
        check(results, autograd(name, of), known, flops, only, least)


def compare_tape(name, arguments, rng):
    """`upconv.nn` sends back what autograd does. Returns False where no argument has a gradient."""
    gradients = OPERATORS[name].gradients
    of = {each for argument in gradients for each in several(argument)} | {"bias"}
    of = [each for each in arguments if each in of and arguments[each] is not None]
    if not of:
        return False
    inputs = arguments | {each: nn.Tensor(arguments[each], requires_grad=True) for each in of}
    differentiable = nn.functional._derived if name == "batch_norm" else vars(nn.functional)
    y = several(differentiable[name](**inputs))[0]
    grad = rng.standard_normal(y.shape).astype(y.dtype)
    y.backward(grad)
    flops = 2 * OPERATORS[name].rule(**arguments).flops
    only = "grad" if name in KINKED or arguments.get("activation") else None
    least = abs(grad).max(initial=0)
    check([inputs[each].grad for each in of], autograd(name, of), arguments | {"grad": grad}, flops, only, least)
    return True


def compare_running_statistics(x, rng, *, training, momentum):
    """`nn.batch_norm` moves its statistics and normalises as F.batch_norm does."""
    running = {
        "running_mean": rng.standard_normal(x.shape[1]).astype(x.dtype),
        "running_var": (0.5 + rng.random(x.shape[1])).astype(x.dtype),
    }

    def theirs(arguments, dtype):
        inputs = tensors(arguments, dtype)
        y = F.batch_norm(**inputs, training=training, momentum=momentum)
        return [each.numpy() for each in (y, inputs["running_mean"], inputs["running_var"])]

    mine = {key: value.copy() for key, value in running.items()}
    y = nn.functional.batch_norm(x, **mine, training=training, momentum=momentum)
    check([y.data, *mine.values()], theirs, {"input": x} | running, 10 * x.size)
