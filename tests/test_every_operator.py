"""What holds for every operator there is: calls are drawn from its signature (benchmarks/calls.py)."""

import inspect
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, FORMATS, arranged, arrays, changed, check_against_reference, several

from benchmarks.calls import draw, forward_of, function, parameters
from benchmarks.rules import Impossible
from upconv import kernels
from upconv.kernels import op, reference
from upconv.kernels.arguments import Arguments
from upconv.kernels.case import Case
from upconv.kernels.cpu import stream
from upconv.kernels.op import OPERATORS

every = pytest.mark.parametrize("name", OPERATORS)
WITH_OUT = [name for name in OPERATORS if "out" in parameters(name)]
WINDOWS = {"stride", "kernel_size", "size"}  # who has one of these looks at rows and columns
OF_ANY_AXES = [name for name in OPERATORS if not WINDOWS & {*parameters(forward_of(name) or name)}]
ONE_SENTENCE = re.compile(r"[a-z_0-9]+: [^\n]+\Z")
seeds = st.integers(0, 2**32 - 1)


def contents(xs):
    """The bytes of the arrays."""
    return [x.tobytes() for x in xs]


# Values


@every
@settings(max_examples=25)
@given(seeds, st.sampled_from(DTYPES), st.sampled_from(FORMATS), st.booleans(), st.booleans())
def test_any_call_equals_the_reference_and_writes_no_input(name, seed, dtype, format, real, streamed):
    arguments = draw(name, np.random.default_rng(seed), dtype=dtype, real=real)
    arguments = {argument: changed(value, lambda x: arranged(x, format)) for argument, value in arguments.items()}
    before = contents(arrays(arguments))
    with pytest.MonkeyPatch.context() as patch:
        if streamed:  # as results larger than the caches are written
            patch.setattr(stream, "LARGE", 0)
        check_against_reference(name, arguments)
    assert contents(arrays(arguments)) == before


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_changes_no_bit_whatever_the_options(name, dtype):
    for seed in range(3):
        arguments = draw(name, np.random.default_rng(seed), dtype=dtype, shape=(2, 24, 37, 41))
        results = []
        for threads in (1, 2, 5):
            with kernels.num_threads(threads):
                results.append(contents(several(function(name)(**arguments))))
        assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("name", WITH_OUT)
def test_out_is_the_result_whatever_its_memory(name):
    for seed, format in enumerate(FORMATS[:7]):
        arguments = draw(name, np.random.default_rng(seed))
        expected = several(function(name)(**arguments))
        out = arranged(expected[0], format) if expected[0].ndim == 4 else expected[0].copy()
        out.flags.writeable = True
        out[...] = 7
        results = several(function(name)(**arguments | {"out": out}))
        assert results[0] is out
        assert contents(results) == contents(expected)


# Shapes


def with_axes(arguments, how, shape):
    """The arguments with `how` of each map, and with this input_shape."""
    result = {argument: changed(value, lambda x: how(x) if x.ndim == 4 else x) for argument, value in arguments.items()}
    kept = {argument: value for argument, value in arguments.items() if argument == "weight"}
    return result | kept | ({"input_shape": shape} if "input_shape" in arguments else {})


def takes_one_image(name, batch):
    """Its rule tells so whoever gives it one axis only, or takes that too, as it takes any shape."""
    try:
        OPERATORS[name].rule(**with_axes(batch, np.ravel, (432,)))
    except ValueError as error:
        return "or, for one image, " in str(error)
    return True


@every
def test_one_image_is_a_batch_of_one(name):
    batch = draw(name, np.random.default_rng(1), shape=(1, 6, 9, 8), plain=True)
    if not takes_one_image(name, batch):
        pytest.skip("it takes batches only")
    results = several(function(name)(**with_axes(batch, lambda x: x[0], (6, 9, 8))))
    for result, whole in zip(results, several(function(name)(**batch)), strict=True):
        np.testing.assert_array_equal(result, whole if whole.shape == result.shape else whole[0])


@pytest.mark.parametrize("name", OF_ANY_AXES)
@pytest.mark.parametrize("shape", [(), (7,), (5, 3), (2, 3, 4), (0, 3), (2, 3, 4, 2, 5)], ids=str)
def test_maps_of_other_axes_give_the_references_result_or_one_sentence(name, shape):
    try:
        arguments = draw(name, np.random.default_rng(0), shape=shape)
        OPERATORS[name].rule(**arguments)
    except Impossible:
        return
    except ValueError as error:
        assert ONE_SENTENCE.match(str(error))
        return
    check_against_reference(name, arguments)


@every
@pytest.mark.parametrize("axis", range(4))
def test_empty_maps_give_the_references_result_or_one_sentence(name, axis):
    shape = [2, 6, 5, 4]
    shape[axis] = 0
    for seed in range(4):
        try:
            arguments = draw(name, np.random.default_rng(seed), shape=shape, plain=seed == 0)
            OPERATORS[name].rule(**arguments)
        except Impossible:
            continue
        except ValueError as error:
            assert axis or "more than one number for each channel" in str(error), error
            assert ONE_SENTENCE.match(str(error))
            continue
        check_against_reference(name, arguments)


# Gradients


@pytest.mark.parametrize("name", [name for name, each in OPERATORS.items() if each.gradients])
def test_gradients_are_those_of_finite_differences(name):
    """d/dh f(a + h v) is the gradient's product with v, for each argument a that has one."""
    step = 1e-6
    for seed in range(4):
        rng = np.random.default_rng(seed)
        arguments = draw(name, rng, dtype=np.float64, activation=None)
        for wanted, gradient in OPERATORS[name].gradients.items():
            given = draw(gradient.op.name, rng, dtype=np.float64, **arguments)
            parts = several(gradient(**given))
            of = (wanted,) if isinstance(wanted, str) else wanted
            assert len(parts) == len(of)
            for argument, part in zip(of, parts, strict=True):
                if arguments[argument] is None:
                    continue
                assert part.shape == arguments[argument].shape
                direction = rng.standard_normal(part.shape)

                before, here, after = (
                    several(function(name)(**arguments | {argument: arguments[argument] + by * direction}))[0]
                    * given.get("grad", 1.0)
                    for by in (-step, 0, step)
                )
                difference = (after.sum() - before.sum()) / (2 * step)
                scale = 1 + abs(part * direction).sum() + abs(here).sum()
                assert abs(difference - (part * direction).sum()) <= 1e-7 * scale, argument


# What is said about it


@every
def test_explain_names_what_runs_and_its_cost(name, monkeypatch):
    ran = []
    arguments = draw(name, np.random.default_rng(3), shape=(1, 6, 7, 8), plain=True)
    said = kernels.explain(function(name), **arguments)
    monkeypatch.setattr(
        op, "trace", [*op.trace, lambda operator, variant, *_: ran.append((operator.name, variant.name))]
    )
    function(name)(**arguments)
    assert ran == [(name, said.variant)]
    assert said.text.startswith(f"{name} -> ")
    assert f"  {said.variant}: runs" in said.text
    assert said.cost.bytes > 0


@every
def test_a_docstring_begins_with_the_equation_and_names_every_argument(name):
    text = inspect.getdoc(function(name))
    assert "=" in text.splitlines()[0]
    lines, text = text, " ".join(text.split())
    assert re.search(r"\(N, [A-Z]|\bshape\b", text)
    assert re.search(r"Raises|errors", text)
    if re.search(r" as (in|given to) `", text):
        return  # that is where the rest is
    assert ">>> " in lines or forward_of(name), "all but gradients have an example"
    for argument in set(parameters(name)) - {"algorithm", "out"}:
        assert re.search(rf"\b{argument}\b", text), argument


# The generator itself


@pytest.fixture
def own_operators():
    """Operators declared in a test are gone after it."""
    before = dict(OPERATORS)
    yield
    OPERATORS.clear()
    OPERATORS.update(before)


@pytest.mark.usefixtures("own_operators")
def test_an_unknown_parameter_is_told_what_to_add(monkeypatch):
    @op.operator(reference=reference.relu, base=reference.relu, variants=[])
    def twist(x, angle):
        """Never called."""

    monkeypatch.setattr(kernels, "twist", twist, raising=False)
    message = "rules.py cannot draw 'angle', a parameter of twist: add a method 'angle' to its class Rules"
    with pytest.raises(LookupError, match=re.escape(message)):
        draw("twist", np.random.default_rng(0))


@pytest.mark.usefixtures("own_operators")
def test_a_new_operator_is_drawn_explained_and_compared(monkeypatch):
    """One declaration, one reference, one kernel: the rest finds it."""

    def run(outputs, x):
        np.multiply(x, 2, out=outputs[0])

    @op.operator(
        reference=lambda x: 2 * x.astype(np.float64), base=lambda x: x + x, variants=[op.Variant("direct", run)]
    )
    def double(x):
        """y = 2 x."""
        (x,), output, maps = Arguments("double").elementwise("x", x=x)
        return Case((x,), (output,), maps=maps, elementwise=True)

    monkeypatch.setattr(kernels, "double", double, raising=False)
    for seed in range(10):
        check_against_reference("double", draw("double", np.random.default_rng(seed)))
    assert kernels.explain(double, np.ones(3)).variant == "direct"
    monkeypatch.setattr(double.op, "reference", lambda x: 2.0001 * x)
    with pytest.raises(AssertionError):
        check_against_reference("double", draw("double", np.random.default_rng(0)))
