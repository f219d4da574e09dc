"""The base on CuPy arrays: where no CUDA kernel serves, the library computes, on the device alone."""

import numpy as np
import pytest
from gpu_cases import fetched, on
from kernel_cases import DTYPES, arranged, changed, check_against_reference, several

from benchmarks.calls import draw
from upconv.kernels.op import OPERATORS

FORMATS = ("contiguous", "channels_last", "slice", "reversed")


@pytest.mark.parametrize("name", OPERATORS)
def test_the_base_equals_the_reference_and_stays_on_the_device(gpu, name):
    for seed, format in enumerate(FORMATS * 2):
        arguments = draw(name, np.random.default_rng(seed), dtype=DTYPES[seed // len(FORMATS)])
        arguments = {
            argument: changed(value, lambda x, f=format: arranged(x, f)) for argument, value in arguments.items()
        }
        case = OPERATORS[name].rule(**arguments)
        there = on(gpu, dict(enumerate(case.arguments))).values()
        gpu.device.forget()
        values = several(OPERATORS[name].base(*there, **case.parameters))
        assert not gpu.device.transfers
        assert all(isinstance(each, gpu.ndarray) for each in values)
        results = zip(fetched(values), case.outputs, strict=True)
        check_against_reference(
            name, arguments, [x.astype(o.dtype, casting="same_kind").reshape(o.given) for x, o in results]
        )
