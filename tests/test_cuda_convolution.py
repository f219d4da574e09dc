"""Convolution on tensor cores, emulated: exact in small integers, within a bound in real numbers, no bank conflicts."""

import numpy as np
import pytest
from correlation_cases import ALGORITHMS, SMALL, formatted, on_device, planned, sides
from gpu_cases import placed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_cases import REPEATED, Convolution, arranged, convolutions, same_bits

from upconv import kernels
from upconv.kernels import reference
from upconv.kernels.cuda import blocking, convolution, device
from upconv.kernels.cuda.blocking import TILES
from upconv.kernels.op import OPERATORS

FORMATS = ("contiguous", "channels_last", "slice", "spread", "reversed", "turned", *REPEATED)
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
SPLITTING = {"KERNEL": 0, "BLOCK": 0, "TRAFFIC": 10**9}  # costs of splits: none
SHARED = [HealthCheck.function_scoped_fixture]  # one device for all examples


def check_exact(gpu, case, rng, algorithm, format="channels_last", activation=None, only=""):
    """Each of the six operators in small integers, which both kinds of products keep."""
    for name, arguments, more, _ in sides(case, rng, activation):
        if name.startswith(only):
            arguments = formatted(arguments, format)
            expected = getattr(reference, name)(*arguments, **more, **case.geometry)
            given = on_device(gpu, arguments)
            actual = getattr(kernels, name)(*given, **more, **case.geometry, precision="tf32", algorithm=algorithm)
            same_bits(actual.get(), expected, np.float32, name)


@settings(max_examples=15, suppress_health_check=SHARED)
@given(convolutions(), seeds, st.sampled_from(FORMATS), st.sampled_from(ALGORITHMS), st.sampled_from((None, "relu")))
def test_all_sides_are_exact_in_small_integers(gpu, case, rng, format, algorithm, activation):
    with planned(SMALL):
        check_exact(gpu, case, rng, algorithm, format, activation)


@pytest.mark.slow
@settings(max_examples=1000, suppress_health_check=SHARED)
@given(convolutions(), seeds, st.sampled_from(FORMATS), st.sampled_from(ALGORITHMS), st.sampled_from((None, "relu")))
def test_all_sides_are_exact_in_a_long_sweep(gpu, case, rng, format, algorithm, activation):
    with planned(SMALL):
        check_exact(gpu, case, rng, algorithm, format, activation)


# Channels and filters around a vector, a step and a tile; batches that end inside of one.
EDGES = {
    "one channel": Convolution((3, 1, 5, 6), (1, 1, 3, 3), padding=((1, 1), (1, 1))),
    "an image of colours": Convolution((1, 3, 9, 8), (8, 3, 3, 3), (2, 2), ((1, 1), (1, 1))),
    "a vector more": Convolution((2, 4, 4, 7), (5, 4, 3, 3), padding=((1, 1), (1, 1))),
    "a step less": Convolution((1, 31, 3, 4), (33, 31, 2, 2)),
    "a step": Convolution((5, 32, 3, 3), (64, 32, 3, 3), padding=((1, 1), (1, 1))),
    "two steps and a vector": Convolution((2, 68, 3, 4), (36, 68, 3, 3), padding=((1, 1), (1, 1))),
    "one more than two steps": Convolution((1, 65, 3, 3), (65, 65, 3, 3), padding=((1, 1), (1, 1))),
    "one output": Convolution((1, 8, 5, 5), (8, 8, 5, 5)),
    "stride larger than the kernel": Convolution((2, 8, 9, 10), (8, 8, 2, 2), (3, 4)),
    "dilated, strided, framed": Convolution((1, 8, 13, 12), (4, 8, 3, 3), (3, 2), ((2, 0), (1, 3)), (2, 3)),
    "as strided as dilated": Convolution((1, 4, 9, 7), (8, 4, 3, 3), (2, 2), ((1, 1), (1, 0)), (2, 2)),
    "groups": Convolution((2, 24, 4, 5), (16, 12, 3, 3), (2, 1), ((1, 0), (0, 1)), groups=2),
    "groups of odd sizes": Convolution((2, 15, 4, 5), (9, 5, 3, 2), (1, 2), ((1, 1), (1, 1)), groups=3),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", EDGES)
def test_edges_are_exact(gpu, name, algorithm):
    with planned(SMALL):
        check_exact(gpu, EDGES[name], np.random.default_rng(0), algorithm, activation="relu")


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("filters", [1, 3, 4, 5, 8, 31, 33, 64, 65])
@pytest.mark.parametrize("channels", [1, 3, 4, 5, 8, 31, 33, 64, 65])
def test_any_number_of_channels_and_filters_with_any_kernel(gpu, channels, filters, kernel):
    rng = np.random.default_rng(channels * filters + kernel)
    stride = tuple(int(each) for each in rng.integers(1, kernel + 2, 2))
    padding = tuple(tuple(int(each) for each in rng.integers(0, kernel, 2)) for _ in range(2))
    case = Convolution((2, channels, kernel, kernel + 2), (filters, channels, kernel, kernel), stride, padding)
    with planned(SMALL):
        check_exact(gpu, case, rng, ALGORITHMS[kernel % 2])


@pytest.mark.parametrize("tile", TILES, ids=lambda tile: f"{tile.rows}x{tile.columns}")
def test_every_tile_is_exact_and_free_of_bank_conflicts(gpu, tile):
    case = Convolution((3, 12, 7, 9), (36, 12, 3, 3), (1, 2), ((1, 1), (0, 1)))
    gpu.device.forget()
    for algorithm, products, only in (("tf32", 1, "conv2d"), ("fp32x3", 3, "conv2d_input")):
        with planned(tile):
            if tile in blocking.tiles(products, vector=4):
                check_exact(gpu, case, np.random.default_rng(1), algorithm, only=only)
    for name, *_, counts in gpu.device.launches:
        assert counts.bank_conflicts == 0, (name, counts.of("shared"))
        assert counts.executed("mma") > 0 or name == "add_splits"


def test_single_numbers_are_copied_without_bank_conflicts(gpu):
    (tile,) = blocking.tiles(1, vector=1)
    with planned(tile):
        check_exact(gpu, Convolution((2, 3, 7, 9), (5, 3, 3, 3)), np.random.default_rng(1), "tf32", only="conv2d")
    assert all(counts.bank_conflicts == 0 for *_, counts in gpu.device.launches)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sums_in_splits_are_exact_and_the_same_every_time(gpu, algorithm):
    case = Convolution((2, 32, 11, 13), (32, 32, 3, 3), (2, 2), ((1, 1), (1, 1)))
    with planned(SMALL, **SPLITTING):
        check_exact(gpu, case, np.random.default_rng(0), algorithm, activation="relu")
        assert gpu.device.names["add_splits"] == 6
        for name, arguments, more, _ in sides(case, np.random.default_rng(1), numbers=real):
            given, how = on_device(gpu, arguments), more | case.geometry | {"precision": "tf32", "algorithm": algorithm}
            first, *others = (getattr(kernels, name)(*given, **how).get().tobytes() for _ in range(3))
            assert others == [first, first]  # planned, remembered, known


def real(rng, shape):
    return rng.standard_normal(shape)


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_real_numbers_stay_within_the_bound_of_their_products(gpu, algorithm, splits):
    """A factor of TF32 is off by 2**-11 of itself, so a product by 2**-10; two of them leave 2**-22 of a factor.

    Three products leave out the smallest, 2**-22 of the product. The sums are float32's, truncated: 2**-23 for each
    term of the sum of magnitudes.
    """
    case = Convolution((2, 20, 7, 6), (12, 20, 3, 3), (1, 2), ((1, 1), (1, 1)))
    products = {"tf32": 2**-10 + 2**-22, "fp32x3": 2**-20}[algorithm]
    with planned(SMALL, **(SPLITTING if splits else {})):
        for name, arguments, more, terms in sides(case, np.random.default_rng(2), numbers=real):
            how, given = more | case.geometry, on_device(gpu, arguments)
            sizes = [abs(each) if isinstance(each, np.ndarray) else each for each in arguments]
            expected, magnitude = (getattr(reference, name)(*each, **how) for each in (arguments, sizes))
            actual = getattr(kernels, name)(*given, **how, precision="tf32", algorithm=algorithm)
            excess = abs(actual.get() - expected) - (products + terms * 2**-23) * magnitude
            assert excess.max() <= 0, f"{name}: {excess.max()} beyond the bound"


def test_long_sums_of_three_products_are_as_good_as_those_of_float32(gpu):
    """Tensor cores cut sums off, always towards 0: a sum that they kept would be off by 5e-5 here."""
    case = Convolution((4, 512, 3, 3), (32, 512, 3, 3))
    _, (x, weight, bias), more, _ = sides(case, np.random.default_rng(2), numbers=real)[0]
    expected = reference.conv2d(x, weight, bias, **more, **case.geometry)
    with planned(SMALL, MULTIPROCESSORS=1, KERNEL=10**9):
        actual = kernels.conv2d(*on_device(gpu, (x, weight, bias)), **case.geometry, algorithm="fp32x3").get()
    assert abs(actual - expected).max() <= 4e-6 * abs(expected).max()


def pretend(monkeypatch, room=166912, capability="80"):
    """Operators that know of no call yet, on a GPU of so many bytes of shared memory and of this capability."""
    monkeypatch.setattr(device, "_abilities", lambda number: (room, capability))
    for each in OPERATORS.values():
        monkeypatch.setattr(each, "known", {})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_stages_give_the_bits_of_three(gpu, algorithm, monkeypatch):
    case, results = EDGES["two steps and a vector"], []
    for room, stages in ((SMALL.shared, 3), (SMALL.shared - 1, 2)):
        pretend(monkeypatch, room)
        with planned(SMALL):
            for name, arguments, more, _ in sides(case, np.random.default_rng(4), numbers=real):
                call = on_device(gpu, arguments), more | case.geometry | {"precision": "tf32", "algorithm": algorithm}
                assert f" in {stages} stages" in str(kernels.explain(getattr(kernels, name), *call[0], **call[1]))
                results.append(getattr(kernels, name)(*call[0], **call[1]).get().tobytes())
    assert results[:6] == results[6:]


def test_older_gpus_compute_on_plain_units(gpu, monkeypatch):
    pretend(monkeypatch, capability="75")
    x, weight = gpu.ones((1, 4, 5, 5), np.float32), gpu.ones((4, 4, 3, 3), np.float32)
    assert kernels.explain(kernels.conv2d, x, weight, precision="tf32").variant == "direct"
    with pytest.raises(ValueError, match=r"^conv2d: algorithm 'tf32' .* capability 8\.0 or more, this one has 7\.5$"):
        kernels.conv2d(x, weight, precision="tf32", algorithm="tf32")


def test_divisors_divide():
    numbers = [*range(1, 300), 2**16, 2**16 + 1, 2**20 - 1, 2**20, 3**19, 2**30 - 1, 2**30, 2**30 + 1, 2**31 - 1]
    for number in numbers:
        factor, shift = map(int, convolution.divisor(number))
        for n in (0, 1, *(each + more for each in (number, 7 * number, 2**31 - 2**31 % number) for more in (-1, 0, 1))):
            if n < 2**31:
                assert (2 * n * factor >> 32) >> shift == n // number and factor < 2**32


def test_distances_beyond_32_bits_are_counted_in_64(gpu, monkeypatch):
    monkeypatch.setattr(convolution, "LARGEST", 1)
    with planned(SMALL):
        for case in (EDGES["a vector more"], EDGES["a step"]):
            check_exact(gpu, case, np.random.default_rng(0), "tf32", "reversed", only="conv2d")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_out_may_be_some_channels_of_a_wider_map(gpu, algorithm):
    case = Convolution((2, 8, 4, 5), (12, 8, 3, 3), padding=((1, 1), (1, 1)))
    for constants in ({}, SPLITTING):
        for name, arguments, more, _ in sides(case, np.random.default_rng(4)):
            expected = getattr(reference, name)(*arguments, **more, **case.geometry)
            for format in ("slice", "spread"):
                out = placed(gpu, arranged(np.zeros(expected.shape, np.float32), format))
                with planned(SMALL, **constants):
                    given, how = on_device(gpu, arguments), {"precision": "tf32", "algorithm": algorithm, "out": out}
                    assert getattr(kernels, name)(*given, **more, **case.geometry, **how) is out
                same_bits(out.get(), expected, np.float32, name)


def test_what_serves_is_chosen_by_precision_and_said(gpu):
    case = Convolution((2, 64, 32, 32), (64, 64, 3, 3), padding=((1, 1), (1, 1)))
    for name, arguments, more, _ in sides(case, np.random.default_rng(5)):
        function, given = getattr(kernels, name), on_device(gpu, arguments)
        for precision, algorithm in (("fp32", "fp32x3"), ("tf32", "tf32")):
            said = kernels.explain(function, *given, **more, **case.geometry, precision=precision)
            assert said.variant == algorithm and "tiles of" in str(said)
        with pytest.raises(ValueError, match="asks for fp32"):
            function(*given, **more, **case.geometry, precision="fp32", algorithm="tf32")
        doubles = [each.astype(np.float64) if hasattr(each, "dtype") else each for each in given]
        for algorithm in ALGORITHMS:
            with pytest.raises(ValueError, match="not of float64"):
                function(*doubles, **more, **case.geometry, precision="tf32", algorithm=algorithm)


def test_a_matrix_product_of_pixels_is_left_to_the_library(gpu):
    for name, arguments, more, _ in sides(Convolution((2, 8, 4, 4), (8, 8, 1, 1)), np.random.default_rng(6)):
        function, given = getattr(kernels, name), on_device(gpu, arguments)
        assert kernels.explain(function, *given, **more).variant == "base"
        assert kernels.explain(function, *given, **more, precision="tf32").variant == "tf32"
