"""Every test runs on poisoned memory, and the suite notes which kernels it has run."""

import os
import sys
from pathlib import Path
from platform import machine as machine_name

import numpy as np
import pytest
from hypothesis import settings

from upconv.kernels import op
from upconv.kernels.base import products
from upconv.kernels.cpu import machine, parallel
from upconv.kernels.sharing import overlaps

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for kernel_cases: pytest's importlib mode puts no folder of tests on the path

settings.register_profile("upconv", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("upconv")

KERNEL_TESTS = {
    f"test_{name}.py"
    for name in (
        *(
            "convolution",
            "winograd",
            "vectors",
            "pooling",
            "averaging",
            "unpooling",
            "pointwise",
            "loss",
            "elementwise_loss",
            "batchnorm",
        ),
        *("normalization", "mathematics"),
        *("layout", "errors", "threads", "cache", "frame"),
    )
}
GARBAGE = 0x5A  # each byte of an integer output before a kernel writes it


class Coverage:
    """Which kernels have run in this session, and whether all of their tests were collected."""

    def __init__(self):
        self.variants: set[tuple[str, str]] = set()
        self.vectors: set[str] = set()
        self.complete = False


coverage = Coverage()


def poison(operator, variant, case, outputs):
    """Note the variant and fill what it will write with NaN, or with garbage integers."""
    coverage.variants.add((operator.name, variant.name))
    coverage.vectors.add(machine.vectors().name)
    for output in outputs:
        if any(overlaps(output, argument) for argument in case.arguments):
            continue  # in place
        output.fill(np.nan if output.dtype.kind == "f" else np.frombuffer(bytes([GARBAGE] * 8), output.dtype)[0])


op.trace.append(poison)
parallel.poison = True


@pytest.fixture
def kernel_coverage():
    return coverage


@pytest.fixture
def traced():
    """The names of the operators whose kernels have been started since the test began."""
    names = []

    def note(operator, *_):
        names.append(operator.name)

    op.trace.append(note)
    yield names
    op.trace.remove(note)


def pytest_addoption(parser):
    parser.addoption("--gpu", action="store_true", help="test on the GPU that there is, instead of on a double of CuPy")


@pytest.fixture
def gpu(request):
    """A double of CuPy, as `import cupy` gives it to the product; `gpu.device` counts what it was asked to do.

    With --gpu it is CuPy, and transfers are not counted.
    """
    if request.config.getoption("--gpu"):
        from emulation.real import prepared as installed
    else:
        from emulation import nvrtc
        from emulation.cupy_double import installed

        if not (nvrtc.available() or (sys.platform == "linux" and machine_name() == "x86_64")):
            pytest.skip("there is no NVRTC, which the test extra has for Linux on x86-64 alone")
    with installed() as cupy:
        yield cupy


@pytest.fixture
def without_kernels(request, monkeypatch):
    """On the double of CuPy its functions compute, not kernels, which take it seconds; on a GPU kernels do."""
    if request.config.getoption("--gpu"):
        return
    every = op.Op.serving

    def serving(self, device):
        kernels, others = every(self, device)
        return [] if device == "cuda" else kernels, others

    monkeypatch.setattr(op.Op, "serving", serving)
    monkeypatch.setattr(products, "product", lambda a, b: (a[:, :, :, None] * b[:, None]).sum(axis=2))
    for each in op.OPERATORS.values():
        monkeypatch.setattr(each, "known", {})  # of other calls


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.name == "test_every_kernel_ran")  # last
    for item in items:
        together = "the tests of kernels" if item.path.name in KERNEL_TESTS else item.path.name
        item.add_marker(pytest.mark.xdist_group(together))  # one process, which counts the kernels that ran
        if float64_in_foreign_vectors(item):
            item.add_marker(pytest.mark.slow)


def float64_in_foreign_vectors(item):
    """Kernels of no machine's own: compiling them for every run took minutes."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    foreign = {*machine.KINDS} - {machine.native().name}
    wide = any(value is np.float64 for value in values)
    return wide and any(isinstance(value, str) and value in foreign for value in values)


def pytest_collection_finish(session):
    chosen = any("::" in argument for argument in session.config.args)
    coverage.complete = not chosen and {item.path.name for item in session.items} >= KERNEL_TESTS


def pytest_deselected(items):
    if any(item.path.name in KERNEL_TESTS and "slow" not in item.keywords for item in items):
        KERNEL_TESTS.add("deselected")  # never collected, so the suite is not complete
