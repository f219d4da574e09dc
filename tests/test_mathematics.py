"""exp, log and their like in every width of vectors, and the loops that run them, at their edges."""

import numpy as np
import pytest
from kernel_cases import DTYPES

from upconv.kernels.cpu import elementwise, interleave, machine, mathematics, stream
from upconv.kernels.cpu.jit import kernel

WIDER = {np.float32: np.float64, np.float64: np.longdouble}
FUNCTIONS = {
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "sigmoid": lambda x: np.where(x < 0, np.exp(-abs(x)), 1) / (1 + np.exp(-abs(x))),
    "tanh": np.tanh,
}
UNITS = {"exp": 1.1, "log": 1, "log1p": 1.5, "sigmoid": 2.5, "tanh": 3}  # in the last place; the largest error seen


@pytest.fixture(params=machine.KINDS)
def vectors(request, monkeypatch):
    monkeypatch.setenv("UPCONV_VECTORS", request.param)
    return machine.KINDS[request.param]


def word(name):
    function = getattr(mathematics, name)
    return lambda words, _, x, __: function(words, x)


WORDS = {name: word(name) for name in FUNCTIONS}


def computed(name, x):
    y = np.full_like(x, np.nan)
    elementwise.elementwise(f"test-{name}", WORDS[name], y.reshape(1, 1, 1, -1), [x.reshape(1, 1, 1, -1)])
    return y


def arguments(dtype):
    rng, tiny = np.random.default_rng(0), np.finfo(dtype).smallest_subnormal
    special = [0.0, np.inf, np.nan, 1.0, 1e4, tiny, 100 * tiny, np.finfo(dtype).smallest_normal, np.finfo(dtype).max]
    spread = rng.standard_normal(30_000) * 10.0 ** rng.uniform(-30, 30, 30_000)
    ranges = [rng.uniform(-end, end, 30_000) for end in (1, 3, 20, 120, 760)]
    with np.errstate(over="ignore"):
        return np.concatenate([special, np.negative(special), spread, *ranges, np.linspace(0.5, 2, 30_000)]).astype(
            dtype
        )


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="no numbers wider than float64 to compare with")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_right_to_a_few_units_in_the_last_place(name, dtype, vectors):
    x = arguments(dtype)
    x = abs(x) if name == "log1p" else x
    y = computed(name, x)
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name](x.astype(WIDER[dtype]))
        rounded = expected.astype(dtype)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(y[~finite], rounded[~finite])
    np.testing.assert_array_equal(np.signbit(y[finite]), np.signbit(rounded[finite]))
    errors = abs(y[finite] - expected[finite]) / np.spacing(abs(rounded[finite]))
    assert errors.max() < UNITS[name], x[finite][errors.argmax()]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_number_has_one_result_wherever_it_stands(dtype, vectors):
    """In a vector, in the rest behind the last one, and in any width: cut otherwise, the result is the same."""
    x = np.linspace(-9, 9, 77, dtype=dtype)
    whole = computed("tanh", x)
    for start in (1, 2, 5, 16, 31):
        np.testing.assert_array_equal(computed("tanh", x[start:]), whole[start:])
    np.testing.assert_array_equal(computed("tanh", x[::-1].copy()), whole[::-1])


@pytest.mark.parametrize("past_the_caches", [False, True])
@pytest.mark.parametrize("dtype", [*DTYPES, np.int64, np.uint8])
def test_streams_write_what_they_are_given_and_nothing_beside_it(dtype, past_the_caches):
    write = stream.write(np.dtype(dtype))

    @kernel(f"test-write-{np.dtype(dtype)}")
    def copy(target, source, count, stream):
        write(target, source, count, stream)

    source, size = np.arange(400).astype(dtype), np.dtype(dtype).itemsize
    for first in range(64 // size + 1):
        for count in (0, 1, 2, 15, 16, 17, 63, 64, 65, 129, 200):
            target = np.full(400, 7, dtype)
            copy(target.ctypes.data + first * size, source.ctypes.data + 3 * size, count, past_the_caches)
            expected = np.full(400, 7, dtype)
            expected[first : first + count] = source[3 : 3 + count]
            np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("past_the_caches", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_elementwise_loops_write_their_own_numbers_only(dtype, past_the_caches, vectors, monkeypatch):
    monkeypatch.setattr(elementwise, "streams", lambda nbytes: past_the_caches)
    for first in range(18):
        for count in (1, 2, 31, 32, 33, 64, 100):
            x, y = np.linspace(-2, 2, 150, dtype=dtype), np.full(150, 7, dtype)
            here = slice(first, first + count)
            row, written = (each[here].reshape(1, 1, 1, -1) for each in (x, y))
            elementwise.elementwise("test-exp", WORDS["exp"], written, [row])
            np.testing.assert_allclose(y[here], np.exp(x[here]), rtol=1e-6)
            y[here] = 7
            assert (y == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 21, 33])
def test_pixels_are_taken_apart_and_put_together(channels, dtype, vectors):
    dtype = np.dtype(dtype)
    lanes = vectors.lanes(dtype)
    few = interleave.few(lanes, channels)
    take_apart, put_together = (make(dtype, lanes, few) for make in (interleave.planes, interleave.pixels))

    @kernel(f"test-interleave-{dtype}x{lanes}-{few}")
    def there_and_back(planes, pixels, back, row, channels, count):
        take_apart(planes, pixels, row, channels, count)
        put_together(back, planes, row, channels, count)

    for count in (lanes, 3 * lanes):
        pixels = np.arange(count * channels + 16 * lanes).astype(dtype)
        planes = np.zeros((max(channels, lanes), count + 16), dtype)
        back = np.zeros(count * channels + lanes, dtype)
        there_and_back(*(a.ctypes.data for a in (planes, pixels, back)), planes.strides[0], channels, count)
        flat = pixels[: count * channels]
        np.testing.assert_array_equal(planes[:channels, :count], flat.reshape(count, channels).T)
        np.testing.assert_array_equal(back[: count * channels], flat)


def shapes_of_runs(arrays):
    found = elementwise.runs(arrays)
    return found.counts, found.length


def test_axes_that_follow_each_other_in_memory_are_merged():
    x = np.zeros((2, 5, 6, 8)).transpose(0, 3, 1, 2)  # channels-last
    assert shapes_of_runs([x]) == ((1, 1, 1), 480)
    assert shapes_of_runs([x, x[:, :, ::-1]]) == ((1, 2, 5), 48)
    assert shapes_of_runs([x[:, :3]]) == ((1, 1, 60), 3)
    assert shapes_of_runs([x[..., 1:]]) == ((1, 1, 10), 40)
    assert shapes_of_runs([x[:, :3, 1:, 1:], x[:, 3:6, 1:, 1:]]) == ((2, 4, 5), 3)
    assert shapes_of_runs([x[:, :, :1, :1]]) == ((1, 1, 2), 8)
    assert elementwise.runs([x], pixels=True).count == 60
