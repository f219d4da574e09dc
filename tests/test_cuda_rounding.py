"""What tensor cores make of a factor, emulated: TF32 numbers to the nearest, and NaN of any kind."""

import numpy as np
import pytest
from correlation_cases import ALGORITHMS, SMALL, formatted, on_device, planned, sides
from kernel_cases import Convolution

from upconv import kernels
from upconv.kernels import reference

ENDS = (0, 0x1000000, 0x3F800FFF, 0x3F801000, 0x3F801001, 0x3FFFFFFF, 0x7F7FEFFF, 0x7F7FF000, 0x7F7FFFFF, 0x7F800000)
SUBNORMAL = (1, 0xFFF, 0x1000, 0x7FFFFF, 0x800001)  # or split into what is: three products make 0 of that


def rounded(x):
    """The nearest numbers of TF32; of two, the one further from 0."""
    return np.where(np.isnan(x), x, ((x.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32))


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF], ids=hex)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_numbers_are_rounded_to_nearest_and_nan_reaches_its_windows_and_no_others(gpu, algorithm, bits):
    """Integers of 13 bits, of which TF32 keeps 11, so a quarter are ties; the others are small, and sums exact."""
    case = Convolution((2, 13, 6, 7), (6, 13, 3, 3), (2, 1), ((1, 1), (1, 0)))
    rng, nan = np.random.default_rng(3), np.array(bits, np.uint32).view(np.float32)
    with planned(SMALL):
        for name, arguments, more, _ in sides(case, rng, "relu"):
            for factor in [each for each in arguments if np.ndim(each) == 4]:
                exact, factor.flags.writeable = factor.copy(), True
                factor[...] = rng.integers(4096, 8192, factor.shape) * rng.choice([-1, 1], factor.shape)
                if factor.shape != case.weight_shape:
                    factor[-1, 2, 0, 1] = factor[0, 4, 0, 0] = nan
                seen = [rounded(each) if each is factor and algorithm == "tf32" else each for each in arguments]
                expected = getattr(reference, name)(*seen, **more, **case.geometry)
                given = on_device(gpu, formatted(arguments, "spread"))
                actual = getattr(kernels, name)(*given, **more, **case.geometry, precision="tf32", algorithm=algorithm)
                np.testing.assert_array_equal(actual.get(), expected)
                factor[...] = exact


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_numbers_at_the_ends_of_the_range_are_rounded(gpu, algorithm):
    """Alone in their sums. With three products, what is infinite or rounded to it gives NaN."""
    ends = ENDS + SUBNORMAL * (algorithm == "tf32")
    x = np.array([ends, [each | 1 << 31 for each in ends]], np.uint32).view(np.float32).reshape(1, 1, 2, -1)
    expected, one = rounded(x), np.ones((1, 1, 1, 1), np.float32)
    if algorithm == "fp32x3":
        with np.errstate(invalid="ignore"):
            expected = np.where(np.isfinite(expected), expected + rounded(x - expected), np.float32(np.nan))
    for factors in ((x, one), (one, x.reshape(-1, 1, 1, 1))):
        actual = kernels.conv2d(*on_device(gpu, factors), precision="tf32", algorithm=algorithm)
        np.testing.assert_array_equal(actual.get().reshape(-1), expected.reshape(-1))
