"""Every CUDA kernel in every form that drawn calls ask for, compiled by NVRTC: no spills, no stack, few registers."""

import re
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from platform import machine

import numpy as np
import pytest
from emulation.cupy_double import installed
from emulation.device_kernels import OPTIONS
from emulation.resources import REGISTERS, resources
from gpu_cases import on, run
from kernel_cases import DTYPES, arranged, changed

from benchmarks.calls import draw
from benchmarks.rules import Impossible
from upconv import kernels, nn
from upconv.kernels.cuda import module
from upconv.kernels.cuda.product import product
from upconv.kernels.op import OPERATORS
from upconv.nn.optimizer import Optimizer

pytestmark = pytest.mark.skipif(sys.platform != "linux" or machine() != "x86_64", reason="the test extra has no NVRTC")

SOURCES = sorted(path.name for path in module.FOLDER.glob("*.cu"))
SHARED = {"sm_80": 163 * 1024, "sm_90": 227 * 1024}  # bytes that a block may have
DECLARED = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(")
TILED, OVERLAPPING = {"kernel_size": 2, "stride": 2}, {"kernel_size": 3, "stride": 1, "padding": 1}
PLAIN = (  # calls besides those drawn: a shape, and options where an operator has them
    ((2, 3, 9, 10), {}),
    ((2, 8, 6, 8), TILED),
    ((1, 64, 12, 12), OVERLAPPING),
    ((2, 33, 7, 5), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((1, 128, 8, 8), {}),
    ((2, 8, 9, 8), {"groups": 8}),
    ((1, 64, 12, 12), {"groups": 64}),
    ((1, 64, 10, 10), {"groups": 4, "stride": 2}),
)

MAPS = ("averaging", "layout", "pointwise", "pooling", "resampling", "unpooling")  # which wait for memory, not for sums
MOST = {"update.cu": 80} | {f"{name}.cu": 64 for name in MAPS}  # registers: 768, 1024 threads hide each other's waiting
READ = {"unpooling.cu survey", "layout.cu transpose"}  # the host looks at what they write, so they run here too
STACK = {}  # bytes of stack, "source name", with the reason


@dataclass(frozen=True)
class Form:
    """A kernel as it was asked for, and how it was started."""

    source: str
    name: str
    options: tuple[str, ...]


def calls(name, dtype, draws):
    """Arguments of calls of an operator: plain ones, and `draws` drawn ones, in several memory formats."""
    for number, (shape, options) in enumerate((*PLAIN, *[(None, {})] * draws)):
        if name.startswith("max_unpool") and options is TILED:
            options = options | {"indices": own(shape, np.random.default_rng(number))}
        plain, rng = shape is not None, np.random.default_rng(number)
        try:
            arguments = draw(name, rng, dtype=dtype, shape=shape, plain=plain, **options)
            OPERATORS[name].rule(**arguments)
        except (Impossible, ValueError):  # not a shape that it takes
            continue
        format = ("contiguous", "channels_last", "slice", "spread")[number % 4]
        yield {each: changed(value, lambda x: arranged(x, format)) for each, value in arguments.items()}  # noqa: B023


def own(shape, rng):
    """Indices of max-pooling by 2: each lies in its own block of a plane twice as large."""
    rows, columns = np.indices(shape)[2:] * 2 + rng.integers(0, 2, (2, *shape))
    return rows * 2 * shape[3] + columns


def steps(dtype):
    """A step of each optimiser with each of its rules."""
    for kind in Optimizer.__subclasses__():
        for options in ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}):
            if {*options} <= {*kind.options}:
                layer = nn.Linear(3, 5).to(dtype).to("cuda")
                for parameter in layer.parameters():
                    parameter.grad = parameter.data * 2
                kind(layer.parameters(), lr=0.1, **options).step()


def windows(gpu, dtype):
    """Windows that few calls draw: such as share pixels, and positions as those that share none leave them."""
    for channels in (3, 8):
        x = gpu.ones((1, channels, 4, 6), dtype)
        first = np.arange(24).reshape(4, 6)[::2, ::2] + np.zeros((1, channels, 1, 1), np.int64)
        indices = gpu.asarray(arranged(first, "channels_last"))
        kernels.max_unpool2d(x[:, :, ::2, ::2], indices, 2)
        kernels.max_unpool2d_input(x, indices)
        for padding in (0, 1):
            y, offsets = kernels.max_pool2d_offsets(x, 3, stride=2 - padding, padding=padding)
            kernels.max_pool2d_input(x.shape, gpu.zeros_like(offsets), y, 3, stride=2 - padding, padding=padding)
            kernels.avg_pool2d_input(x.shape, y, 3, stride=2 - padding, padding=padding)


def depthwise(gpu, dtype):
    """Convolutions with a channel to a group."""
    x = gpu.ones((1, 8, 14, 14), dtype)
    for size, stride in ((3, 1), (3, 2), (7, 1), (7, 2)):
        weight = gpu.ones((8, 1, size, size), dtype)
        window = {"stride": stride, "padding": size // 2, "groups": 8}
        y = kernels.conv2d(x, weight, **window)
        kernels.conv2d_weight(x, weight.shape, y, **window)
        kernels.conv_transpose2d(y, weight, **window)


@pytest.fixture(scope="module", params=[0, pytest.param(12, marks=pytest.mark.slow)], ids="{} draws".format)
def draws(request):
    return request.param


@pytest.fixture(scope="module")
def forms(draws):
    """Every form asked for: the most threads and bytes of shared memory that it was started with."""
    found, start = defaultdict(lambda: (0, 0)), module.Kernel.__call__

    def record(kernel, grid, block, *arguments, shared=0):
        form = Form(kernel.source, kernel.name, kernel.options)
        threads = int(np.prod(block))
        found[form] = tuple(map(max, found[form], (threads, shared)))
        if f"{kernel.source} {kernel.name}" in READ:
            start(kernel, grid, block, *arguments, shared=shared)

    with installed() as gpu, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.Kernel, "__call__", record)
        for name in OPERATORS:
            for dtype in DTYPES:
                for arguments in calls(name, dtype, draws):
                    run(name, on(gpu, arguments))
        for dtype in DTYPES:
            steps(dtype)
            windows(gpu, dtype)
            depthwise(gpu, dtype)
            product(gpu.ones((1, 2, 3), dtype), gpu.ones((1, 3, 4), dtype))  # which is for graphs
    return dict(found)


@pytest.mark.parametrize("source", SOURCES)
def test_every_kernel_is_asked_for(forms, source):
    declared = DECLARED.findall((module.FOLDER / source).read_text(encoding="utf-8"))
    assert {*declared} == {form.name for form in forms if form.source == source}
    assert len({*declared}) == len(declared) > 0


@pytest.mark.parametrize("arch", SHARED)
@pytest.mark.parametrize("source", SOURCES)
def test_no_kernel_spills_and_all_fit_a_multiprocessor(forms, source, arch):
    code = (module.FOLDER / source).read_text(encoding="utf-8")
    options = sorted({form.options for form in forms if form.source == source})
    ours = {form: started for form, started in forms.items() if form.source == source}
    with ThreadPoolExecutor(2) as pool:  # NVRTC leaves Python's lock
        found = pool.map(lambda each: resources(code, each + OPTIONS, arch), options)
        compiled = dict(zip(options, found, strict=True))
    wrong = []
    for form, (threads, shared) in ours.items():
        took, kernel = compiled[form.options][form.name], f"{form.source} {form.name}"
        most = min(MOST.get(form.source, 255), REGISTERS // threads // 8 * 8)
        fits = took.registers <= most and took.shared + shared <= SHARED[arch]
        if took.spilled or took.stack > STACK.get(kernel, 0) or not fits:
            wrong.append(f"{kernel} {form.options}: {took}, of {most} registers, with {shared} bytes asked for")
    assert not wrong, "\n".join(wrong)


SPILLING = """
extern "C" __global__ void __launch_bounds__(1024, 2) many(const float* x, float* y, int n) {
    float v[48];
#pragma unroll
    for (int i = 0; i < 48; i++) v[i] = x[i * n + threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 48; i++) y[i * n + threadIdx.x] = v[47 - i] * v[i];
}
extern "C" __global__ void indexed(const float* x, float* y, int n) {
    float v[8] = {};
    for (int i = 0; i < n; i++) v[i & 7] += x[i];
    __shared__ float all[32];
    all[threadIdx.x] = v[n & 7];
    __syncthreads();
    y[threadIdx.x] = all[n & 31];
}
"""


@pytest.mark.parametrize("arch", SHARED)
def test_spills_stack_and_shared_memory_are_found(arch):
    found = resources(SPILLING, ("-std=c++17",), arch)
    assert found["many"].spilled and found["many"].registers <= REGISTERS // 2048
    assert found["indexed"].stack >= 32 and found["indexed"].shared == 128
