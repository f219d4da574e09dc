"""The frame of the operators: what explain says, how a variant is chosen, docstrings, the worked examples."""

import doctest
import importlib
import inspect
import pkgutil
import re

import numpy as np
import pytest
from kernel_cases import plane

from upconv import kernels
from upconv.kernels import op
from upconv.kernels.case import Cost
from upconv.kernels.cpu import machine

# explain


def test_explain_counts_operations_and_bytes_and_names_what_runs():
    x, weight = np.zeros((2, 6, 8, 9), np.float32), np.zeros((10, 3, 3, 3), np.float32)
    said = kernels.explain(kernels.conv2d, x, weight, np.zeros(10, np.float32), groups=2, padding=1, stride=2)
    outputs = 2 * 10 * 4 * 5
    flops = 2 * outputs * 3 * 3 * 3
    size = 4 * (x.size + weight.size + 10 + outputs)
    assert said.cost == Cost(flops, size)
    assert said.variant == "direct"
    lines = str(said).splitlines()
    assert lines[0] == "conv2d -> (2, 10, 4, 5) float32"
    assert lines[1] == f"  {flops:,} FLOPs, {size:,} bytes: {flops / size:.1f} FLOPs per byte"
    assert lines[2].startswith("  grouped: cannot serve: ")
    assert lines[3].startswith("  single: cannot serve: ")
    assert lines[4].startswith("  dots: cannot serve: ")
    assert lines[5].startswith("  winograd: cannot serve: ")
    assert lines[6].startswith("  direct: runs, in tiles of ")
    assert machine.vectors().name in lines[6]
    assert lines[7:] == ["  argument 0 is copied to channels-last first"]
    assert repr(said) == str(said)


def test_explain_runs_nothing(traced):
    x = kernels.channels_last(np.zeros((1, 2, 3, 3)))
    said = kernels.explain(kernels.relu, x, algorithm="reference")
    assert said.variant == "reference"
    assert "  direct: could serve" in str(said)
    assert "copied" not in str(said)
    buffer, slots = kernels.channel_slots((1, 2, 3), (1, 2))
    assert "nothing runs" in str(kernels.explain(kernels.concatenate, slots))
    assert kernels.explain(kernels.concatenate, [buffer, buffer]).variant == "direct"
    assert not traced


@pytest.mark.parametrize(
    ("name", "expected"),  # FLOPs of one call on maps of 5x6, 2 -> 3 channels, 3x3
    [("conv2d", 2 * 12 * 54), ("conv2d_input", 2 * 12 * 54), ("conv2d_weight", 2 * 12 * 54)],
)
def test_a_convolution_and_its_gradients_cost_the_same(name, expected):
    x, weight, y = np.zeros((1, 2, 5, 6)), np.zeros((3, 2, 3, 3)), np.zeros((1, 3, 3, 4))
    arguments = {"conv2d": (x, weight), "conv2d_input": (x.shape, weight, y), "conv2d_weight": (x, weight.shape, y)}
    assert kernels.explain(getattr(kernels, name), *arguments[name]).cost.flops == expected


# Variants


def test_the_first_variant_that_does_not_refuse_runs(monkeypatch):
    """A variant that writes ones, for an even count of numbers only, put before the others."""

    def ones(outputs, x):
        outputs[0][...] = 1

    def refuses(x):
        return f"{x.size} is odd" if x.size % 2 else None

    dummy = op.Variant("ones", ones, refuses, lambda x: "one after the other")
    operator = kernels.relu.op
    monkeypatch.setattr(operator, "variants", [dummy, *operator.variants])
    even, odd = np.full((1, 2, 1, 1), 3.0), np.full((1, 3, 1, 1), 3.0)
    assert kernels.relu(even).ravel().tolist() == [1, 1]
    assert kernels.relu(odd).ravel().tolist() == [3, 3, 3]
    assert kernels.relu(even, algorithm="direct").ravel().tolist() == [3, 3]
    assert kernels.relu(even, algorithm="reference").ravel().tolist() == [3, 3]
    message = "relu: algorithm 'ones' cannot serve this call: 3 is odd"
    with pytest.raises(ValueError, match=re.escape(message)):
        kernels.relu(odd, algorithm="ones")
    with pytest.raises(ValueError, match="one of 'auto', 'ones', 'direct', 'base', 'reference'"):
        kernels.relu(odd, algorithm="twos")
    assert str(kernels.explain(kernels.relu, even)).splitlines()[2:4] == [
        "  ones: runs, one after the other",
        "  direct: could serve",
    ]
    said = kernels.explain(kernels.relu, odd)
    assert said.variant == "direct"
    assert "  ones: cannot serve: 3 is odd\n  direct: runs" in str(said)


def test_a_variant_that_declines_runs_where_it_is_asked_for(monkeypatch):
    def ones(outputs, x):
        outputs[0][...] = 1

    dummy = op.Variant("ones", ones, declines=lambda x: "others are closer" if x.size > 1 else None)
    operator = kernels.relu.op
    monkeypatch.setattr(operator, "variants", [dummy, *operator.variants])
    one, two = np.full((1, 1, 1, 1), 3.0), np.full((1, 2, 1, 1), 3.0)
    assert kernels.relu(one).ravel().tolist() == [1]
    assert kernels.relu(two).ravel().tolist() == [3, 3]
    assert kernels.relu(two, algorithm="ones").ravel().tolist() == [1, 1]
    said = kernels.explain(kernels.relu, two)
    assert said.variant == "direct"
    assert "  ones: could serve, if asked for: others are closer\n  direct: runs" in str(said)
    assert kernels.explain(kernels.relu, two, algorithm="ones").variant == "ones"


def test_gradients_are_operators_themselves():
    for operator in op.OPERATORS.values():
        arguments = inspect.signature(getattr(kernels, operator.name)).parameters
        for wanted, gradient in operator.gradients.items():
            assert set((wanted,) if isinstance(wanted, str) else wanted) <= set(arguments)
            assert gradient.op is op.OPERATORS[gradient.op.name]


# Documentation


def test_every_public_name_is_listed_and_every_operator_public():
    functions = {name for name, value in vars(kernels).items() if inspect.isfunction(value)}
    assert set(kernels.__all__) == functions
    assert list(kernels.__all__) == sorted(kernels.__all__)
    assert functions >= set(op.OPERATORS)


def test_signatures_are_those_of_the_design():
    def names(function):
        parameters = inspect.signature(function).parameters.values()
        positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        return positional, {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    steps = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    end = {"precision": None, "algorithm": "auto", "out": None}
    assert names(kernels.conv2d) == (["x", "weight", "bias"], steps | {"activation": None} | end)
    assert names(kernels.conv2d_input) == (["input_shape", "weight", "grad"], steps | end)
    assert names(kernels.conv2d_weight) == (["x", "weight_shape", "grad"], steps | end)
    assert names(kernels.conv_transpose2d) == (
        ["x", "weight", "bias"],
        steps | {"output_padding": 0, "output_size": None, "activation": None} | end,
    )
    pool = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False}
    assert names(kernels.max_pool2d) == (["x", "kernel_size"], pool | {"return_indices": False, "algorithm": "auto"})
    unpool = {"stride": None, "padding": 0, "output_size": None, "algorithm": "auto"}
    assert names(kernels.max_unpool2d) == (["x", "indices", "kernel_size"], unpool)


MODULES = [module.name for module in pkgutil.walk_packages(kernels.__path__, "upconv.kernels.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    assert sum(len(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name))) > 10


# The worked examples of the lectures

BILINEAR = [[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_bilinear_transposed_convolution_interpolates(dtype):
    x = np.arange(16, dtype=dtype).reshape(1, 1, 4, 4)
    weight = plane(BILINEAR, dtype)
    y = kernels.conv_transpose2d(x, weight, stride=2, padding=1)
    expected = 2 * np.arange(7)[:, None] + np.arange(7) / 2
    assert expected[3].tolist() == [6, 6.5, 7, 7.5, 8, 8.5, 9]
    np.testing.assert_array_equal(y[0, 0], expected)
    whole = np.zeros((9, 9))
    for i, j in np.ndindex(4, 4):  # the running sum of shifted kernels
        whole[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += x[0, 0, i, j] * weight[0, 0]
    np.testing.assert_array_equal(kernels.conv_transpose2d(x, weight, stride=2)[0, 0], whole)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pooling_remembers_and_unpooling_puts_back(dtype):
    x = plane([[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]], dtype)
    y, indices = kernels.max_pool2d(x, 2, return_indices=True)
    assert y[0, 0].tolist() == [[5, 6], [7, 8]]
    unpooled = kernels.max_unpool2d(plane([[1, 2], [3, 4]], dtype), indices, 2)
    assert unpooled[0, 0].tolist() == [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]
    x = plane([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], dtype)
    assert kernels.max_pool2d(x, 2)[0, 0].tolist() == [[6, 8], [3, 4]]


def test_a_mean_filter():
    image = np.zeros((1, 1, 10, 10))
    image[..., 2:7, 3:8] = 90
    image[..., 5, 4] = 0
    image[..., 8, 2] = 90
    sums = kernels.conv2d(image, np.ones((1, 1, 3, 3)))
    mean = sums[0, 0] / 9  # 1/9 itself is not exact
    assert mean.shape == (8, 8)
    assert mean[0].tolist() == [0, 10, 20, 30, 30, 30, 20, 10]
    assert mean[3].tolist() == [0, 30, 50, 80, 80, 90, 60, 30]


def test_shapes_and_weights_of_the_lectures():
    image = np.zeros((1, 3, 32, 32), np.float32)
    weight = np.zeros((6, 3, 5, 5), np.float32)
    assert kernels.conv2d(image, weight).shape == (1, 6, 28, 28)
    assert kernels.conv2d(np.zeros((1, 64, 56, 56)), np.zeros((32, 64, 1, 1))).shape == (1, 32, 56, 56)
    assert weight[0].size == 75


# Last of all: see conftest.py.


def test_every_kernel_ran(kernel_coverage):
    if not kernel_coverage.complete:
        pytest.skip("only some of the kernels' tests were chosen")
    variants = {(name, variant.name) for name, each in op.OPERATORS.items() for variant in each.serving("cpu")[0]}
    assert not variants - kernel_coverage.variants
    assert not set(machine.KINDS) - kernel_coverage.vectors
