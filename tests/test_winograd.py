"""Winograd's convolution and its gradients: within the stated bound of the definition, wherever tiles end."""

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, EDGES, FORMATS, Convolution, arranged, planned, shortened

from upconv import kernels
from upconv.kernels import reference
from upconv.kernels.cpu import machine, winograd, winograd_plan, winograd_weight
from upconv.kernels.cpu.winograd_tiles import tiled

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
dtypes, formats = st.sampled_from(DTYPES), st.sampled_from(FORMATS)
activations = st.sampled_from((None, "relu"))
vectors = st.sampled_from([*machine.KINDS])

# Columns: the values of 1, x, x^2, ... at the points 0, p, -p, q, -q, infinity (Lavin & Gray 2015, section 5.1).
P, Q = 0.625, 1.5
A = np.array(
    [[1, 1, 1, 1, 1, 0], [0, P, -P, Q, -Q, 0], [0, P**2, P**2, Q**2, Q**2, 0], [0, P**3, -(P**3), Q**3, -(Q**3), 1]]
)
FINITE = (0, P, -P, Q, -Q)
OTHERS = [[b for b in FINITE if b != a] for a in FINITE]
G = np.array(
    [[a**i / np.prod([a - b for b in others]) for i in range(3)] for a, others in zip(FINITE, OTHERS, strict=True)]
    + [[0, 0, 1]]
)
B = np.array([[*np.poly(others)[::-1], 0] for others in OTHERS] + [np.poly(FINITE)[::-1]])


def framed(x, padding):
    """`x` with rows and columns of zeros around it; where there are fewer than none, without some of its own."""
    x = np.pad(x, ((0, 0), (0, 0), *((max(a, 0), max(b, 0)) for a, b in padding)))
    rows, columns = (slice(max(-a, 0), x.shape[2 + i] - max(-b, 0)) for i, (a, b) in enumerate(padding))
    return x[:, :, rows, columns]


def absolute(x, weight, padding, dilation=(1, 1)):
    """What the bound multiplies: Winograd's sums with the magnitude of every number in them."""
    x = framed(abs(x.astype(np.float64)), padding)
    down, right = dilation
    if dilation != (1, 1):  # each of the interleaved maps by itself
        sums = np.zeros((len(x), len(weight), x.shape[2] - 2 * down, x.shape[3] - 2 * right))
        for a in range(min(down, sums.shape[2])):
            for b in range(min(right, sums.shape[3])):
                sums[:, :, a::down, b::right] = absolute(x[:, :, a::down, b::right], weight, ((0, 0), (0, 0)))
        return sums
    n, height, width = len(x), x.shape[2] - 2, x.shape[3] - 2
    rows, columns = height + -height % 4, width + -width % 4
    data = absolute_data(x)
    filters = np.einsum("fi,kcij,gj->kcfg", abs(G), abs(weight.astype(np.float64)), abs(G))
    sums = np.einsum("ncabfg,kcfg,if,jg->nkaibj", data, filters, abs(A), abs(A), optimize=True)
    return sums.reshape(n, len(weight), rows, columns)[:, :, :height, :width]


def absolute_data(x):
    """|B'| |d| |B| of the tiles of one padded map."""
    x = framed(x, tuple((0, -(size - 2) % 4) for size in x.shape[2:]))
    tiles = np.lib.stride_tricks.sliding_window_view(x, (6, 6), (2, 3))[:, :, ::4, ::4]
    return np.einsum("fi,ncabij,gj->ncabfg", abs(B), tiles, abs(B))


def absolute_weight(x, grad, padding, dilation=(1, 1)):
    """The same for the weight gradient."""
    x, grad = framed(abs(x.astype(np.float64)), padding), abs(grad.astype(np.float64))
    sums = np.zeros((grad.shape[1], x.shape[1], 3, 3))
    down, right = dilation
    for a in range(min(down, grad.shape[2])):
        for b in range(min(right, grad.shape[3])):
            mine = grad[:, :, a::down, b::right]
            mine = framed(mine, tuple((0, -size % 4) for size in mine.shape[2:]))
            n, k, height, width = mine.shape
            gradients = np.einsum(
                "if,nkaibj,jg->nkabfg", abs(A), mine.reshape(n, k, height // 4, 4, width // 4, 4), abs(A)
            )
            data = absolute_data(x[:, :, a::down, b::right])
            sums += np.einsum("ncabfg,nkabfg,fi,gj->kcij", data, gradients, abs(G), abs(G), optimize=True)
    return sums


@st.composite
def cases(draw, dilations=((1, 1), (1, 1), (1, 2), (2, 1), (3, 2), (2, 11))):
    """3x3 convolutions of stride 1, their channels, filters, rows and columns around the edges of tiles."""
    few = st.one_of(st.integers(1, 5), st.sampled_from(EDGES))
    padding = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(2))
    dilation = draw(st.sampled_from(dilations))
    least = [max(1, 2 * step + 1 - sum(sides)) for step, sides in zip(dilation, padding, strict=True)]
    size = [each + draw(st.integers(0, 14)) for each in least]
    x_shape = (draw(st.integers(1, 3)), draw(few), *size)
    return Convolution(x_shape, (draw(few), x_shape[1], 3, 3), padding=padding, dilation=dilation)


PLANNERS = winograd_plan.plan, winograd_weight.plan

# One panel's work at a time, in many groups and chunks; and a few tiles at a time with all filters.
PLANS = {
    "default": {},
    "by filters": {"winograd_plan": {"RESIDENT": 0, "GROUP": 1, "CHUNK": 0}},
    "by tiles": {"winograd_plan": {"FEW": 0, "RESIDENT": 10**9, "TOGETHER": 1, "ITEMS": 1000}},
    "parts": {"winograd_weight": {"CHANNELS": 1, "FILTERS": 1, "ITEMS": 1000, "TILES": (1, 2)}},
}


def check(case, rng, dtype, format="channels_last", activation=None):
    """The convolution and its gradients, in real numbers."""

    def real(shape):
        return rng.standard_normal(shape).astype(dtype)

    x, grad = (arranged(real(shape), format) for shape in (case.x_shape, case.y_shape))
    weight, bias = arranged(real(case.weight_shape), format), real(case.y_shape[1])
    given = shortened(case.geometry)
    channels, filters = x.shape[1], len(weight)

    y = kernels.conv2d(x, weight, bias, activation=activation, algorithm="winograd", **given)
    expected = reference.conv2d(x, weight, bias, activation=activation, **case.geometry)
    size = absolute(x, weight, case.padding, case.dilation) + abs(bias)[:, None, None]
    assert_within(y, expected, size, channels, dtype)
    unit = winograd.error_bound(np.dtype(dtype), channels) * abs(x).max()
    assert (
        abs(y - expected) <= unit * abs(weight).sum((1, 2, 3))[:, None, None] + np.finfo(dtype).eps * abs(bias).max()
    ).all()

    dx = kernels.conv2d_input(x.shape, weight, grad, algorithm="winograd", **given)
    expected = reference.conv2d_input(x.shape, weight, grad, **case.geometry)
    padding = tuple(
        tuple(2 * step - side for side in sides) for step, sides in zip(case.dilation, case.padding, strict=True)
    )
    size = absolute(grad, weight.swapaxes(0, 1)[:, :, ::-1, ::-1], padding, case.dilation)
    assert_within(dx, expected, size, filters, dtype)

    dw = kernels.conv2d_weight(x, weight.shape, grad, algorithm="winograd", **given)
    expected = reference.conv2d_weight(x, weight.shape, grad, **case.geometry)
    _, tiles = tiled((len(x), *grad.shape[2:]), case.dilation)
    assert_within(dw, expected, absolute_weight(x, grad, case.padding, case.dilation), tiles, dtype)
    unit = winograd.error_bound(np.dtype(dtype), tiles) * abs(x).max()
    assert (abs(dw - expected) <= unit * abs(grad).sum((0, 2, 3))[:, None, None, None]).all()


def assert_within(actual, expected, size, channels, dtype):
    """|error| <= gamma(C + 28) times the sums of magnitudes; the reference's own error has the direct sum's bound.

    channels: or tiles, of a weight gradient.
    """
    assert (actual.shape, actual.dtype) == (expected.shape, dtype)
    gamma = sum(
        n * u / (1 - n * u) for n, u in ((channels + 28, np.finfo(dtype).eps / 2), (16 * channels + 1, 2.0**-53))
    )
    excess = abs(actual - expected) - gamma * size
    assert excess.max(initial=0) <= 0, f"{excess.max()} beyond the bound for {channels} channels"


@settings(max_examples=150)
@given(cases(), seeds, dtypes, formats, activations, st.sampled_from([*PLANS]))
def test_errors_stay_within_the_bound(case, rng, dtype, format, activation, plan):
    with planned(*PLANNERS, **PLANS[plan]) if plan != "default" else nullcontext():
        check(case, rng, dtype, format, activation)


def check_any_vectors(case, rng, dtype, name, plan):
    with pytest.MonkeyPatch.context() as patch, planned(*PLANNERS, **PLANS[plan]):
        patch.setenv("UPCONV_VECTORS", name)
        check(case, rng, dtype)


@settings(max_examples=60)
@given(cases(), seeds, vectors, st.sampled_from([*PLANS]))
def test_errors_stay_within_the_bound_with_any_vectors(case, rng, name, plan):
    check_any_vectors(case, rng, np.float32, name, plan)


@pytest.mark.slow  # to compile
@settings(max_examples=60)
@given(cases(), seeds, vectors, st.sampled_from([*PLANS]))
def test_errors_stay_within_the_bound_with_any_vectors_in_float64(case, rng, name, plan):
    check_any_vectors(case, rng, np.float64, name, plan)


# As planned for real layers.
LARGE = {
    "many tiles": Convolution((1, 40, 90, 83), (33, 40, 3, 3), padding=((1, 1), (1, 1))),
    "many images": Convolution((40, 32, 9, 10), (48, 32, 3, 3), padding=((1, 1), (1, 1))),
    "many channels": Convolution((1, 700, 14, 13), (96, 700, 3, 3), padding=((1, 1), (1, 1))),
    "filters beyond the caches": Convolution((1, 290, 50, 47), (320, 290, 3, 3)),
    "dilation": Convolution((1, 40, 60, 66), (64, 40, 3, 3), padding=((4, 4), (4, 4)), dilation=(4, 4)),
    "no padding": Convolution((2, 64, 45, 44), (64, 64, 3, 3)),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_layers_stay_within_the_bound(name):
    check(LARGE[name], np.random.default_rng(0), np.float32)


@pytest.mark.parametrize("channels", [64, 256])
def test_usual_errors_are_a_hundred_thousandth_of_the_largest_output(channels):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, channels, 40, 40), dtype=np.float32)
    weight = rng.standard_normal((64, channels, 3, 3), dtype=np.float32)
    y = kernels.conv2d(x, weight, padding=1, algorithm="winograd")
    exact = kernels.conv2d(x, weight, padding=1, algorithm="reference")
    assert 0 < abs(y - exact).max() < 1e-5 * abs(exact).max()


def test_the_amplification_is_the_largest_of_the_transforms():
    path = np.einsum("if,fu,f->iu", abs(A), abs(G), abs(B).sum(1))
    assert path.max() <= winograd.AMPLIFICATION < 1.01 * path.max()


@settings(max_examples=50)
@given(cases([(1, 1)]), seeds, st.sampled_from((np.nan, np.inf, -np.inf)), st.sampled_from([*PLANS]))
def test_special_values_spoil_the_tiles_that_read_them_and_no_others(case, rng, value, plan):
    x = rng.standard_normal(case.x_shape)
    place = tuple(rng.integers(0, case.x_shape))
    x[place] = value
    weight = abs(rng.standard_normal(case.weight_shape)) + 1
    given = shortened(case.geometry)
    grad = rng.standard_normal(case.y_shape)
    with planned(*PLANNERS, **PLANS[plan]):
        y = kernels.conv2d(x, weight, algorithm="winograd", **given)
        dw = kernels.conv2d_weight(x, weight.shape, grad, algorithm="winograd", **given)
    assert np.isfinite(np.delete(dw, place[1], axis=1)).all()
    i, j = (place[2 + axis] + case.padding[axis][0] for axis in (0, 1))  # in the padded map
    near = np.zeros(y.shape, bool)
    rows, columns = (slice(max(0, -(-(at - 5) // 4) * 4), at // 4 * 4 + 4) for at in (i, j))
    near[place[0], :, rows, columns] = True
    window = np.zeros(y.shape, bool)
    window[place[0], :, max(0, i - 2) : i + 1, max(0, j - 2) : j + 1] = True
    assert np.isfinite(y[~near]).all()
    assert not np.isfinite(y[window]).any()


def test_the_number_of_threads_changes_no_bit():
    rng = np.random.default_rng(0)
    x, weight = (
        rng.standard_normal((2, 40, 60, 61), dtype=np.float32),
        rng.standard_normal((70, 40, 3, 3), dtype=np.float32),
    )
    results, gradients = set(), set()
    grad = rng.standard_normal((2, 70, 60, 61), dtype=np.float32)
    for plan in ("by tiles", "by filters"):
        with planned(*PLANNERS, **PLANS[plan]):
            for threads in (1, 2, 5):
                with kernels.num_threads(threads):
                    results.add(kernels.conv2d(x, weight, padding=1, algorithm="winograd").tobytes())
                    dw = kernels.conv2d_weight(x, weight.shape, grad, padding=1, algorithm="winograd")
                    gradients.add(dw.tobytes())
    assert len(results) == len(gradients) == 1


# Choice


def variant(shape, weight_shape, dtype=np.float32, **window):
    return kernels.explain(kernels.conv2d, np.ones(shape, dtype), np.ones(weight_shape, dtype), **window)


def test_what_it_cannot_serve_and_why():
    for weight_shape, window, why in (
        ((64, 64, 5, 5), {}, "the kernel is 5 x 5, not 3 x 3"),
        ((64, 64, 3, 3), {"stride": (1, 2)}, "the stride is (1, 2), not 1"),
        ((64, 32, 3, 3), {"groups": 2}, "there are 2 groups"),
    ):
        said = variant((1, 64, 40, 40), weight_shape, **window)
        assert said.variant == "direct"
        assert f"  winograd: cannot serve: {why}" in str(said)
    with pytest.raises(ValueError, match="algorithm 'winograd' cannot serve this call: there is nothing to sum"):
        kernels.conv2d(np.ones((1, 0, 5, 5)), np.ones((1, 0, 3, 3)), algorithm="winograd")


@pytest.mark.parametrize(
    ("shape", "filters", "why"),
    [
        ((1, 8, 64, 64), 64, "with fewer than 16 channels"),
        ((1, 64, 5, 8), 256, None),
        ((1, 64, 4, 12), 256, "with 3 tiles, 64 channels and 256 filters"),
        ((1, 24, 8, 8), 24, "with 4 tiles, 24 channels and 24 filters"),
        ((14, 64, 4, 4), 16, None),
        ((1, 64, 5, 5), 256, "where 4 tiles are filled with 25 pixels"),
    ],
)
def test_where_it_leaves_the_case_to_the_direct_sum(shape, filters, why):
    said = variant(shape, (filters, shape[1], 3, 3), padding=1)
    weight, grad = np.ones((shape[1], filters, 3, 3), np.float32), np.ones(shape, np.float32)
    turned = kernels.explain(kernels.conv2d_input, (shape[0], filters, *shape[2:]), weight, grad, padding=1)
    for each in (said, turned):
        assert each.variant == ("direct" if why else "winograd")
        assert why is None or f"could serve, if asked for: the direct sum is faster {why}" in str(each)


def test_weight_gradients_take_it_where_it_is_faster():
    def said(channels, dtype=np.float32):
        x, grad = np.ones((1, channels, 20, 20), dtype), np.ones((1, 16, 20, 20), dtype)
        return kernels.explain(kernels.conv2d_weight, x, (16, channels, 3, 3), grad, padding=1)

    assert said(12).variant == "winograd"
    assert "  winograd: runs, F(3x3, 4x4) (" in str(said(12))
    assert "error at most 0.0006 max|x| sum|grad|" in str(said(12))
    assert said(11).variant == said(64, np.float64).variant == "direct"
    assert "could serve, if asked for: the direct sum is faster with fewer than 12 channels" in str(said(11))


def test_the_rule_takes_the_faster_variant_of_those_measured():
    """Within a fiftieth of its time on average (noise apart), over the measurements in the repository."""
    from benchmarks.choice import FILE, read

    rows = read(FILE)
    for operator in ("conv2d", "conv2d_input", "conv2d_weight"):
        regrets = [row.regret for row in rows if row.operator == operator]
        assert len(regrets) > 200
        assert np.exp(np.mean(np.log(regrets))) < 1.02


def test_it_runs_in_float32_where_it_is_faster():
    said = variant((1, 64, 64, 64), (64, 64, 3, 3), padding=1)
    assert said.variant == "winograd"
    assert "  winograd: runs, F(4x4, 3x3) (" in str(said)
    assert "error at most 0.001 max|x| sum|w|" in str(said)
    said = variant((1, 64, 64, 64), (64, 64, 3, 3), np.float64, padding=1)
    assert said.variant == "direct"
    assert "  winograd: could serve, if asked for: float64 is for the direct sum's smaller error" in str(said)
    x = np.ones((1, 64, 64, 64), np.float32)
    weight = np.ones((64, 64, 3, 3), np.float32)
    said = kernels.explain(kernels.conv2d_input, x.shape, weight, x, padding=1)
    assert said.variant == "winograd"
    assert "max|grad| sum|w|" in str(said)
