"""Bad input is refused on a GPU as on the CPU: the same exception in the same words, before anything is computed."""

import pytest
from bad_arguments import right
from bad_calls import table
from gpu_cases import on

from benchmarks.calls import function
from upconv import kernels
from upconv.kernels.op import OPERATORS

every = pytest.mark.parametrize("operator", OPERATORS)


def refusal(operator, call):
    """The exception that a call raises, and its words, which name the one library's arrays or the other's."""
    with pytest.raises((ValueError, TypeError, IndexError)) as caught:
        function(operator)(**call)
    return type(caught.value), str(caught.value).replace("NumPy", "CuPy")


@every
def test_bad_input_is_refused_as_on_the_cpu(gpu, operator, traced):
    refused = 0
    for changes, *_ in table(operator):
        here = right(operator) | changes
        try:
            there = on(gpu, here)
        except (ValueError, TypeError):  # CuPy has no such array
            continue
        traced.clear()
        if "algorithm" in changes:  # each device has its own
            assert refusal(operator, there)[0] is refusal(operator, here)[0]
        else:
            assert refusal(operator, there) == refusal(operator, here)
        assert not traced
        refused += 1
    assert refused > 10


def test_channels_last_names_the_kind_of_array_that_came(gpu):
    with pytest.raises(TypeError, match=r"^channels_last: x must be a CuPy array with the axes NCHW, got shape"):
        kernels.channels_last(gpu.ones(3))


@every
def test_algorithms_of_the_other_device_are_not_among_those_allowed(gpu, operator):
    here = right(operator)
    names = {
        device: {variant.name for group in OPERATORS[operator].serving(device) for variant in group}
        for device in ("cpu", "cuda")
    }
    assert names["cpu"] - names["cuda"] >= {"reference"}
    for arguments, ours, theirs in ((here, "cpu", "cuda"), (on(gpu, here), "cuda", "cpu")):
        for name in names[theirs] - names[ours]:
            with pytest.raises(ValueError, match=rf"^{operator}: algorithm must be one of 'auto', .*, got '{name}'$"):
                function(operator)(**arguments | {"algorithm": name})
