"""A few calls of every kind under pytest-benchmark: `make bench`. Each variant, and PyTorch where it is installed.

A result is checked against the reference before it is timed, so a wrong kernel has no speed.
"""

from functools import cache

import pytest

from upconv import kernels

from .cases import LAYERS, UPSAMPLING, Call, Maps, call

MAPS = (4, 16, 256, 256)  # of a small U-Net
CASES = (
    *(LAYERS[6], LAYERS[3], LAYERS[9], UPSAMPLING[1]),  # small maps, a square layer, stride 2, a U-Net's upsampling
    Maps(MAPS, ("relu", "relu_input")),
    Maps(MAPS, ("max_pool2d", "max_pool2d_input", "max_unpool2d", "max_unpool2d_input"), {"kernel_size": 2}),
)
PAIRS = [(case, operator) for case in CASES for operator in case.operators]
VARIANTS = [
    (case, operator, variant.name) for case, operator in PAIRS for variant in getattr(kernels, operator).op.variants
]
measured = pytest.mark.benchmark(warmup=True, min_rounds=5, max_time=0.5)


@cache
def checked(case, operator) -> Call:
    """The call, and proof that its default variant is right."""
    made = call(case, operator)
    made.check(made(algorithm="reference"))
    return made


def describe(benchmark, made):
    benchmark.group = f"{made.operator}: {made.label}"
    cost, threads = made.cost, kernels.get_num_threads()
    benchmark.extra_info.update(flops=cost.flops, bytes=cost.bytes, threads=threads)


def name(value):
    return value if isinstance(value, str) else value.label


@measured
@pytest.mark.parametrize(("case", "operator", "variant"), VARIANTS, ids=name)
def test_upconv(benchmark, case, operator, variant):
    made = checked(case, operator)
    try:
        result = made(algorithm=variant)
    except ValueError as refusal:
        pytest.skip(str(refusal))
    made.check(result)
    describe(benchmark, made)
    benchmark(made, algorithm=variant)


@measured
@pytest.mark.parametrize("memory_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize(("case", "operator"), PAIRS, ids=name)
def test_pytorch(benchmark, case, operator, memory_format):
    pytest.importorskip("torch")
    from . import peers

    made = checked(case, operator)
    candidate = peers.candidates(made)[memory_format]
    made.check(peers.arrays(candidate()))
    describe(benchmark, made)
    benchmark(candidate)
