"""The six sides of convolution on a GPU beside the reference, bit for bit in small integers."""

from dataclasses import dataclass

import numpy as np
from gpu_cases import fetched, on
from kernel_cases import arranged, integers, same_bits

from upconv import kernels
from upconv.kernels import reference


@dataclass(frozen=True)
class Formats:
    """Memory formats of the maps, of the weight and of `out`."""

    maps: str = "channels_last"
    weight: str = "contiguous"
    out: str = "channels_last"


def check_sides(gpu, case, dtype, formats=Formats(), activation=None, algorithm="auto", seed=0):
    """Each of the six operators for one convolution (`kernel_cases.Convolution`)."""
    rng = np.random.default_rng(seed)
    x, y = (arranged(integers(rng, shape, dtype), formats.maps) for shape in (case.x_shape, case.y_shape))
    weight = arranged(integers(rng, case.weight_shape, dtype), formats.weight)
    bias, up_bias = (arranged(integers(rng, shape[1], dtype), formats.weight) for shape in (y.shape, x.shape))
    for name, arguments, more in case.sides(x, weight, y, bias, up_bias, activation):
        expected = getattr(reference, name)(*arguments, **more, **case.geometry)
        out = arranged(np.full(expected.shape, np.nan, dtype), formats.out)
        given = on(gpu, {"arguments": list(arguments), "out": out})
        options = more | case.geometry | {"algorithm": algorithm, "out": given["out"]}
        result = getattr(kernels, name)(*given["arguments"], **options)
        assert result is given["out"]
        same_bits(*fetched(result), expected, dtype, name)
