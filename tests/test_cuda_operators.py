"""What holds for every operator on a GPU: calls are drawn from its signature, as in test_every_operator.py."""

import numpy as np
import pytest
from gpu_cases import bits, fetched, on, run
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, FORMATS, arranged, arrays, changed, check_against_reference

from benchmarks.calls import draw, function, parameters
from upconv import kernels
from upconv.kernels.base import products
from upconv.kernels.op import OPERATORS

every = pytest.mark.parametrize("name", OPERATORS)
WITH_OUT = [name for name in OPERATORS if "out" in parameters(name)]
KERNELS = [(name, each.name) for name, op in OPERATORS.items() for each in op.variants if each.device == "cuda"]
GPU_FORMATS = [format for format in FORMATS if format != "unaligned"]  # CuPy has no such arrays
MUST_LOOK = ("nll_", "cross_entropy", "dice_", "binary_", "max_unpool", "max_pool2d_in", "global_max_pool2d_input")
seeds = st.integers(0, 2**32 - 1)


def looks(name):
    """Whether its rule asks about numbers: labels, indices, weights."""
    return name.startswith(MUST_LOOK)


def formatted(arguments, format):
    return {argument: changed(value, lambda x: arranged(x, format)) for argument, value in arguments.items()}


def plain(name):
    return draw(name, np.random.default_rng(0), shape=(2, 8, 6, 8), plain=True)


def others(arguments):
    """A call like it: floats in another order, labels and indices as they are."""

    def turned(x):
        return np.flip(x) if x.dtype.kind == "f" else x

    return {name: changed(value, turned) for name, value in arguments.items()}


@every
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds, st.sampled_from(DTYPES), st.sampled_from(GPU_FORMATS), st.booleans())
@example(0, np.float32, "channels_last", True)
def test_any_call_equals_the_reference_twice_and_writes_no_input(gpu, name, seed, dtype, format, real):
    arguments = formatted(draw(name, np.random.default_rng(seed), dtype=dtype, real=real), format)
    given = on(gpu, arguments)
    gpu.device.forget()
    results = run(name, given)
    assert looks(name) or not gpu.device.transfers, gpu.device.transfers
    assert all(isinstance(result, gpu.ndarray) for result in results)
    check_against_reference(name, arguments, fetched(results))
    assert bits(run(name, given)) == bits(results)
    for before, after in zip(arrays(arguments), fetched(tuple(device_arrays(gpu, given))), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(("name", "algorithm"), KERNELS)
def test_each_kernel_asked_for_by_its_name_equals_the_reference(gpu, name, algorithm):
    """Three calls that it serves, of those drawn."""
    served, variant = 0, next(each for each in OPERATORS[name].serving("cuda")[0] if each.name == algorithm)
    for seed in range(60):
        arguments = draw(name, np.random.default_rng(seed), dtype=DTYPES[seed % 5 == 4])
        given = on(gpu, arguments)
        case = OPERATORS[name].rule(**given)
        if case.answer is None and case.flops < 10**6 and variant.cannot_serve(case) is None:
            choice = {"algorithm": algorithm} if "algorithm" in parameters(name) else {}
            check_against_reference(name, arguments, fetched(run(name, given | choice)))
            served += 1
            if served == 3:
                return
    assert served, "no call that it serves was drawn"


def device_arrays(gpu, arguments):
    """Every device array among the arguments."""
    for value in arguments.values():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, gpu.ndarray):
                yield each


@pytest.mark.parametrize("name", WITH_OUT)
def test_out_is_the_result_whatever_its_memory(gpu, name):
    for format in ("contiguous", "channels_last", "slice", "spread"):
        given = on(gpu, plain(name))
        expected = run(name, given)
        out = arranged(expected[0].get(), format) if expected[0].ndim == 4 else expected[0].get()
        out = on(gpu, {"out": out})["out"]
        out.fill(7)
        results = run(name, given | {"out": out})
        assert results[0] is out
        assert bits(results) == bits(expected)


@every
def test_a_graph_does_the_same_for_other_numbers(gpu, name, monkeypatch):
    """A call is captured and launched; and launched again after its arguments have changed where they lie."""

    def uncaptured(arguments):
        """The call's bits outside of a graph, products of matrices as in graphs: cuBLAS rounds otherwise."""
        with monkeypatch.context() as patch:
            patch.setattr(products, "captured", lambda x: True)
            return bits(run(name, arguments))

    given, changes = on(gpu, plain(name)), on(gpu, others(plain(name)))
    gpu.cuda.runtime.deviceSynchronize()
    with gpu.cuda.Stream(non_blocking=True) as stream:
        before = uncaptured(given)  # compiled, known, and with memory to be had without asking the driver
        stream.begin_capture()
        results = run(name, given)
        graph = stream.end_capture()
        graph.launch(stream)
        stream.synchronize()
        assert bits(results) == before
        for argument, other in zip(device_arrays(gpu, given), device_arrays(gpu, changes), strict=True):
            argument[...] = other
        graph.launch(stream)
        stream.synchronize()
    assert bits(results) == uncaptured(changes)


@every
def test_a_call_with_arrays_of_both_kinds_says_so(gpu, name):
    arguments = plain(name)
    whole = on(gpu, arguments)
    names = [argument for argument, value in arguments.items() if isinstance(value, np.ndarray)]
    if len(names) < 2:
        pytest.skip("it has one array")
    for argument in names:
        with pytest.raises(TypeError, match=rf"^{name}: [^\n]+$"):
            function(name)(**whole | {argument: arguments[argument]})
    assert looks(name) or not gpu.device.transfers


@every
def test_explain_names_what_runs(gpu, name):
    assert kernels.explain(function(name), **on(gpu, plain(name))).variant in {
        variant.name for variant in (*OPERATORS[name].serving("cuda")[0], *OPERATORS[name].serving("cuda")[1])
    }


def test_formats_of_results_are_those_of_numpy(gpu):
    for name in OPERATORS:
        for format in ("contiguous", "channels_last"):
            arguments = formatted(plain(name), format)
            for ours, theirs in zip(run(name, on(gpu, arguments)), run(name, arguments), strict=True):
                assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
                assert ours.strides == theirs.strides, (name, format)


def test_a_call_runs_where_its_arrays_lie(request, gpu, monkeypatch):
    """Of two GPUs: CuPy's current one is number 0."""
    if request.config.getoption("--gpu"):
        pytest.skip("one GPU is not two")
    entered = []

    class Other:
        id = 1

        def __enter__(self):
            entered.append(True)
            monkeypatch.setattr(gpu.cuda.runtime, "getDevice", lambda: 1)

        def __exit__(self, *error):
            monkeypatch.setattr(gpu.cuda.runtime, "getDevice", lambda: 0)

    x, there = gpu.ones((1, 2, 4, 4)), gpu.ones((1, 2, 4, 4))
    kind, here = type(x), x.device
    monkeypatch.setattr(kind, "device", property(lambda self: Other() if self is there else here))
    with pytest.raises(TypeError, match=r"^add: y must be on GPU 0 like the first array, got one on GPU 1$"):
        kernels.add(x, there)
    assert not entered
    assert kernels.concatenate([there]).shape == there.shape
    assert len(entered) == 1
