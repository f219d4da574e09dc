"""CUDA kernels that look at one number at a time, against the reference: special numbers, formats, masks, bytes."""

import numpy as np
import pytest
from gpu_cases import fetched, moved, on, run, same_as_reference
from kernel_cases import arranged

from upconv import kernels
from upconv.kernels.cuda import pointwise

SPECIAL = np.array([0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan, 1e-20, -30.0, 30.0, 88.0, -88.0, 104.0, -104.0])
FORMATS = ("contiguous", "channels_last", "slice", "spread", "reversed")
BINARY = {"relu_input": "y", "leaky_relu_input": "x", "sigmoid_input": "y", "tanh_input": "y"}
UNITS = {"sigmoid": 3, "tanh": 3, "sigmoid_input": 2, "tanh_input": 2}  # in the last place; all else is exact


def compared(gpu, name, arguments, dtype):
    """Each number by itself, in units of its last place."""
    results = fetched(run(name, on(gpu, arguments) | {"algorithm": "cuda"}))[0]
    expected = run(
        name,
        {each: np.asarray(x, np.float64) if np.ndim(x) else x for each, x in arguments.items()}
        | {"algorithm": "reference"},
    )
    right = expected[0]
    unit = np.maximum(np.spacing(np.abs(right).astype(dtype)), np.finfo(dtype).smallest_normal).astype(np.float64)
    bound = np.where(np.isfinite(right), UNITS.get(name, 0.5) * unit, 0)
    assert results.dtype == dtype
    same = (results == right) | (np.isnan(results) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        assert (same | (np.abs(results - right) <= bound)).all(), (name, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh", *BINARY])
def test_special_numbers(gpu, name, dtype):
    x = np.concatenate([SPECIAL, np.random.default_rng(0).standard_normal(37)]).astype(dtype)
    others = {"grad": x[::-1].copy()} if name in BINARY else {}
    others |= {"negative_slope": 0.25} if name.startswith("leaky") else {}
    compared(gpu, name, {BINARY.get(name, "x"): x} | others, dtype)


@pytest.mark.parametrize("shape", [(1,), (3,), (1027,), (2, 3, 5, 4), (2, 8, 3, 3), (1, 1, 4, 5), (2, 33, 1, 2)])
def test_any_shape_and_format(gpu, shape):
    """The numbers after the last whole vector too, and maps whose channels lie amid others."""
    x, y = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    for format in FORMATS if len(shape) == 4 else FORMATS[:1]:
        same_as_reference(gpu, "relu", {"x": x}, format)
        same_as_reference(gpu, "add", {"x": x, "y": y}, format)


@pytest.mark.parametrize("full", [0, 2**40])
def test_threads_take_several_vectors_of_large_maps(gpu, full, monkeypatch):
    monkeypatch.setattr(pointwise, "FULL", full)
    for size in (256 * 4 * 4, 256 * 4 * 4 + 5, 9000):
        x, y = np.random.default_rng(0).standard_normal((2, size)).astype(np.float32)
        same_as_reference(gpu, "relu", {"x": x})
        same_as_reference(gpu, "relu_input", {"y": x, "grad": y})
        x = x[: size // 8 * 8].reshape(2, 4, -1, 1)
        same_as_reference(gpu, "leaky_relu", {"x": x, "negative_slope": 0.25}, "slice")


def test_numbers_that_begin_anywhere(gpu):
    x = gpu.asarray(np.arange(-9, 10, dtype=np.float32))
    for start in range(5):
        np.testing.assert_array_equal(kernels.relu(x[start:]).get(), np.maximum(np.arange(start - 9, 10), 0))


@pytest.mark.parametrize("p", [0, 0.3, 0.5, 1])
@pytest.mark.parametrize("format", FORMATS)
def test_dropout_drops_what_the_cpu_drops(gpu, p, format):
    for shape in ((2, 3, 4, 5), (2, 8, 3, 3), (1, 1, 2, 9), (3, 4, 1, 1)):
        for dtype in (np.float32, np.float64):
            x = arranged(np.random.default_rng(0).standard_normal(shape).astype(dtype), format)
            given = {"x": x, "p": p, "seed": 2**63 + 5}
            ours = fetched(run("dropout", on(gpu, given) | {"algorithm": "cuda"}))[0]
            np.testing.assert_array_equal(ours, kernels.dropout(**given, algorithm="direct"))


@pytest.mark.parametrize("channels", [(1, 2), (4, 8, 4), (3, 5)])
def test_concatenation(gpu, channels):
    xs = [np.random.default_rng(c).standard_normal((2, c, 3, 4)).astype(np.float32) for c in channels]
    for format in FORMATS:
        same_as_reference(gpu, "concatenate", {"xs": xs}, format)


def test_every_byte_is_moved_once(gpu):
    x = arranged(np.ones((2, 8, 8, 8), np.float32), "channels_last")
    wide = np.ones((2, 8, 8, 16), np.float32).transpose(0, 3, 1, 2)
    half = wide[:, 8:]
    for name in ("relu", "sigmoid", "tanh"):
        assert moved(gpu, name, {"x": x}) == [(x.nbytes, x.nbytes)]
        assert moved(gpu, name, {"x": half}) == [(half.nbytes, half.nbytes)]
    assert moved(gpu, "relu_input", {"y": x, "grad": x}) == [(2 * x.nbytes, x.nbytes)]
    assert moved(gpu, "dropout", {"x": x, "p": 0.5, "seed": 1}) == [(x.nbytes, x.nbytes)]
    assert moved(gpu, "concatenate", {"xs": [x, half]}) == [(x.nbytes, x.nbytes)] * 2
