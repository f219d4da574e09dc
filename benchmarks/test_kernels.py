"""Operators and networks under pytest-benchmark: `make bench`. Each variant, and each peer that is installed.

A result is checked against float64 before it is timed, so a wrong kernel has no speed. A group holds all that make the
same call; `extra_info` says what it takes at least, and who made it.
"""

from copy import deepcopy
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import upconv
from upconv import kernels, nn
from upconv.kernels.case import Cost

from . import peers, unet
from .cases import Call, Layer, Maps, Network, call, error
from .results import OURS
from .shapes import LAYERS, NETWORKS, UPSAMPLING

MAPS = (4, 16, 256, 256)  # of a small U-Net
CASES = (
    *LAYERS,
    *UPSAMPLING,
    Maps(MAPS, ("relu", "relu_input")),
    Maps(MAPS, ("max_pool2d", "max_pool2d_input", "max_unpool2d", "max_unpool2d_input"), {"kernel_size": 2}),
)
PAIRS = [(case, operator) for case in CASES for operator in case.operators]
VARIANTS = [
    (case, operator, variant.name) for case, operator in PAIRS for variant in getattr(kernels, operator).op.variants
]
ENTRANTS = [(case, operator, entrant) for case, operator in PAIRS for entrant in peers.ENTRANTS]
measured = pytest.mark.benchmark(warmup=True, min_rounds=5, max_time=0.25)


@lru_cache(maxsize=2)
def made(case: Layer | Maps, operator: str) -> Call:
    return call(case, operator)


def peer(entrant: str) -> Any:
    try:
        return peers.load(peers.ENTRANTS[entrant])
    except ImportError as error:
        pytest.skip(str(error))


def describe(benchmark: BenchmarkFixture, group: str, cost: Cost, entrant: str, version: str, error: float) -> None:
    benchmark.group = group
    benchmark.extra_info.update(
        flops=cost.flops,
        bytes=cost.bytes,
        threads=kernels.get_num_threads(),
        entrant=entrant,
        version=version,
        error_against_float64=error,
        upconv=upconv.__version__,
        numba=numba.__version__,
        numpy=np.__version__,
    )


def name(value: str | Layer | Maps | Network) -> str:
    return value if isinstance(value, str) else value.label


@measured
@pytest.mark.parametrize(("case", "operator", "variant"), VARIANTS, ids=name)
def test_upconv(benchmark: BenchmarkFixture, case: Layer | Maps, operator: str, variant: str) -> None:
    ours = made(case, operator).constant
    try:
        wrong = ours.check(ours(algorithm=variant))
    except ValueError as refusal:
        pytest.skip(str(refusal))
    group = f"{operator}: {ours.label}"
    describe(benchmark, group, ours.cost, f"{OURS} {variant}", upconv.__version__, wrong)
    benchmark(ours, algorithm=variant)


@measured
@pytest.mark.parametrize(("case", "operator", "entrant"), ENTRANTS, ids=name)
def test_peer(benchmark: BenchmarkFixture, case: Layer | Maps, operator: str, entrant: str) -> None:
    theirs, ours = peer(entrant), made(case, operator)
    candidates = theirs.candidates(ours)
    if entrant not in candidates:
        pytest.skip(f"{entrant} has no such operator")
    wrong = ours.check(candidates[entrant](), entrant)
    describe(benchmark, f"{operator}: {ours.label}", ours.cost, entrant, theirs.VERSION, wrong)
    benchmark(candidates[entrant])


@lru_cache(maxsize=1)
def prepared(network: Network) -> tuple[tuple[nn.UNet, np.ndarray, np.ndarray], np.ndarray]:
    """(model, images, labels), and the scores in float64."""
    inputs = unet.prepare(network)
    return inputs, unet.exact(*inputs[:2])


@measured
@pytest.mark.parametrize("entrant", [OURS, *peers.ENTRANTS])
@pytest.mark.parametrize("what", unet.PARTS)
@pytest.mark.parametrize("network", NETWORKS[:2], ids=name)
def test_network(benchmark: BenchmarkFixture, network: Network, what: str, entrant: str) -> None:
    theirs = None if entrant == OURS else peer(entrant)
    (model, images, labels), scores = prepared(network)
    ours = unet.upconv_calls(deepcopy(model), images, labels)  # training changes the model
    calls = ours if theirs is None else theirs.networks(model, images, labels).get(entrant, (None, None))
    run = dict(zip(unet.PARTS, calls, strict=True))[what]
    if run is None:
        pytest.skip(f"{entrant} has no {what}")
    wrong = error(np.asarray(calls[0]()), scores, f"{network.label} by {entrant}")
    cost = unet.cost(dict(zip(unet.PARTS, ours, strict=True))[what])
    version = upconv.__version__ if theirs is None else theirs.VERSION
    describe(benchmark, f"{what}: {network.label}", cost, entrant, version, wrong)
    benchmark(run)
