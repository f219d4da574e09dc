"""Bad input raises one clear sentence, before anything is computed; the table of bad input is in bad_calls.py."""

import inspect
import re

import numpy as np
import pytest
from bad_arguments import right
from bad_calls import X, Y, table, zeros

from benchmarks.calls import function
from upconv import kernels
from upconv.kernels.op import OPERATORS


@pytest.mark.parametrize("operator", OPERATORS)
def test_bad_input_raises_before_anything_is_computed(operator, traced):
    call = right(operator)
    function(operator)(**call)  # the table's premise
    rows = list(table(operator))
    traced.clear()
    for changes, error, message in rows:
        pattern = re.escape(message).replace(re.escape("..."), ".*")
        with pytest.raises(error, match=f"^{operator}: .*{pattern}") as caught:
            function(operator)(**call | changes)
        assert type(caught.value) is error
        assert "\n" not in str(caught.value)
    assert not traced


@pytest.mark.parametrize("operator", OPERATORS)
def test_unknown_and_positional_arguments_are_refused(operator):
    call = right(operator)
    with pytest.raises(TypeError, match="unexpected keyword argument 'sride'"):
        function(operator)(**call, sride=2)
    parameters = inspect.signature(function(operator)).parameters.values()
    with pytest.raises(TypeError, match="positional argument"):
        function(operator)(*[X for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY], X)


# Public functions that are no operators.

OTHERS = [
    ("explain", (np.zeros,), TypeError, "function must be an operator of upconv.kernels, got <"),
    ("channels_last", (None,), TypeError, "x must be a NumPy array with the axes NCHW, got NoneType"),
    ("channels_last", (zeros(3),), TypeError, "x must be a NumPy array with the axes NCHW, got shape (3,)"),
    ("channel_slots", (None, (1, 2)), TypeError, "shape must be a shape with the axes NHW, got None"),
    ("channel_slots", ((1, 2), (1, 2)), ValueError, "shape must have the 3 axes NHW, got (1, 2)"),
    ("channel_slots", ((1, 2, -3), (1, 2)), ValueError, "shape[2] must be at least 0, got -3"),
    ("channel_slots", ((1, 2, 3), 4), TypeError, "channels must be a list of integers, got int"),
    ("channel_slots", ((1, 2, 3), (4, 1.5)), TypeError, "channels[1] must be an integer, got 1.5"),
    ("channel_slots", ((1, 2, 3), (4, -1)), ValueError, "channels[1] must be at least 0, got -1"),
    ("channel_slots", ((1, 2, 3), (4,), int), TypeError, "dtype must be float32 or float64, got <class 'int'>"),
    ("channel_slots", ((1, 2, 3), (4,), None), TypeError, "dtype must be float32 or float64, got None"),
    ("set_num_threads", (0,), ValueError, "count must be an integer in 1..1024, got 0"),
    ("set_num_threads", (1025,), ValueError, "count must be an integer in 1..1024, got 1025"),
    ("set_num_threads", (2.0,), ValueError, "count must be an integer in 1..1024, got 2.0"),
    ("set_num_threads", (True,), ValueError, "count must be an integer in 1..1024, got True"),
]


@pytest.mark.parametrize(("function", "arguments", "error", "message"), OTHERS)
def test_bad_input_of_the_other_functions(function, arguments, error, message):
    with pytest.raises(error, match=f"^{function}: {re.escape(message)}"):
        getattr(kernels, function)(*arguments)


def test_explain_raises_what_the_call_would():
    with pytest.raises(ValueError, match=r"^conv2d: stride must be at least 1, got 0"):
        kernels.explain(kernels.conv2d, X, zeros(6, 4, 3, 3), stride=0)
    with pytest.raises(ValueError, match=r"^relu: out must have shape"):
        kernels.explain(kernels.relu, X, out=Y)
