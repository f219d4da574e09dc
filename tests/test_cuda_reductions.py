"""Reductions on a GPU, and what goes by channels or by labels: edges of shapes, special numbers, memory read once."""

import numpy as np
import pytest
from gpu_cases import fetched, on, run
from kernel_cases import arranged, check_against_reference, several

from benchmarks.calls import draw
from upconv.kernels.cuda import dice, loss
from upconv.kernels.cuda import matrix as module
from upconv.kernels.cuda.matrix import matrix, plane
from upconv.kernels.cuda.pixels import pixels
from upconv.kernels.op import OPERATORS

VOID = 255
BY_CHANNELS = (
    "channel_sum",
    "bias_relu_input",
    "batch_norm",
    "batch_norm_training",
    "batch_norm_input",
    "batch_norm_training_input",
    "global_avg_pool2d",
    "global_max_pool2d",
)
BY_CLASSES = ("softmax", "log_softmax_input", "cross_entropy", "cross_entropy_input", "dice_loss", "dice_loss_input")
OF_LABELS = ("nll_loss", "nll_loss_input", "cross_entropy", "cross_entropy_input", "dice_loss", "dice_loss_input")


def check(gpu, name, **arguments):
    assert OPERATORS[name].prepare(**on(gpu, arguments))[1].name == "cuda"
    check_against_reference(name, arguments, fetched(run(name, on(gpu, arguments))))


def drawn(name, shape, format, dtype=np.float32):
    arguments = draw(name, np.random.default_rng(sum(shape)), dtype=dtype, shape=shape)
    return {key: arranged(x, format) if getattr(x, "ndim", 0) == 4 and x.size else x for key, x in arguments.items()}


# Shapes


@pytest.mark.parametrize("name", BY_CHANNELS)
def test_any_number_of_channels_and_pixels(gpu, name):
    for n, c, h, w in (
        (2, 1, 5, 7),
        (1, 3, 4, 3),
        (2, 4, 3, 3),
        (1, 5, 1, 2),
        (2, 32, 3, 5),
        (1, 33, 2, 2),
        (1, 4, 1, 1),
    ):
        if "training" in name and n * h * w == 1:
            continue
        for format in ("channels_last", "slice", "spread"):
            check(gpu, name, **drawn(name, (n, c, h, w), format))
    check(gpu, name, **drawn(name, (2, 3, 6, 5), "contiguous", np.float64))


@pytest.mark.parametrize("name", BY_CLASSES)
def test_any_number_of_classes(gpu, name):
    for classes, format in (
        (1, "slice"),
        (4, "channels_last"),
        (5, "contiguous"),
        (32, "spread"),
        (33, "channels_last"),
    ):
        check(gpu, name, **drawn(name, (2, classes, 3, 5), format))
    check(gpu, name, **drawn(name, (1, 34, 3, 2), "contiguous", np.float64))
    check(gpu, name, **drawn(name, (2, 3, 11, 13), "channels_last"))  # more pixels than a block takes


@pytest.mark.parametrize("name", ("channel_sum", "batch_norm_training", "batch_norm_input", "mse_loss", *OF_LABELS))
def test_no_images(gpu, name):
    arguments = draw(name, np.random.default_rng(0), shape=(0, 3, 4, 5))
    op = OPERATORS[name]
    case = op.rule(**arguments)
    with np.errstate(all="ignore"):
        expected = several(op.reference(*case.arguments, **case.parameters))
    for result, exact in zip(fetched(run(name, on(gpu, arguments))), expected, strict=True):
        np.testing.assert_array_equal(result, exact)


def test_more_classes_than_registers_hold_are_left_to_the_base(gpu):
    for name, most in (("softmax", 1024), ("log_softmax", 512)):  # of dense planes
        x = gpu.zeros((1, most + 1, 1, 2), np.float32)
        assert OPERATORS[name].prepare(x)[1].name == "base"
        assert OPERATORS[name].prepare(x[:, 1:])[1].name == "cuda"
        with pytest.raises(ValueError, match=rf"it takes at most {most} channels, and there are {most + 1}$"):
            run(name, {"x": x, "algorithm": "cuda"})


@pytest.mark.parametrize("name", ("bias_relu_input", "cross_entropy_input"))
def test_more_rows_than_32_bits_count(gpu, name, monkeypatch):
    monkeypatch.setattr(module, "COUNTED", 1)
    check(gpu, name, **drawn(name, (2, 3, 4, 5), "spread"))


# Special numbers


def scores(classes=3):
    z = np.random.default_rng(1).standard_normal((2, classes, 3, 4)).astype(np.float32)
    z[0, :, 0, 0], z[1, 0, 1, 1], z[1, -1, 1, 2], z[1, :, 2, 0], z[0, 0, 2, 3] = np.nan, np.inf, -np.inf, -np.inf, 1e30
    return z


@pytest.mark.parametrize("name", ("softmax", "log_softmax", "channel_sum", "global_max_pool2d", "batch_norm_training"))
@pytest.mark.parametrize("format", ("contiguous", "channels_last"))
def test_nan_and_infinities_spread_as_in_the_definition(gpu, name, format):
    x = arranged(scores(), format)
    case = OPERATORS[name].rule(x)
    with np.errstate(all="ignore"):
        expected = several(OPERATORS[name].reference(*case.arguments, **case.parameters))
    for result, exact in zip(fetched(run(name, on(gpu, {"x": x}))), expected, strict=True):
        np.testing.assert_allclose(result, exact.reshape(result.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OF_LABELS)
def test_void_pixels_and_weights_that_sum_to_nothing(gpu, name):
    labels = np.random.default_rng(2).integers(0, 3, (2, 3, 4)).astype(np.uint8)
    labels[0, 0] = labels[1, 1] = labels[1, 2, 0] = labels[0, 2, 3] = VOID
    first = {"dice": "logits", "cros": "logits", "nll_": "log_probabilities"}[name[:4]]
    weighted = ({"weight": np.array([1, -1, 0], np.float32)}, {"weight": np.zeros(3, np.float32)}, {"reduction": "sum"})
    for given in ({"smooth": 0.0}, {"squared": True}) if "dice" in name else ({}, *weighted):
        for each in (labels, np.full_like(labels, VOID), labels.astype(np.int16)):
            arguments = {first: scores(), "labels": each, "ignore_index": VOID, **given}
            case = OPERATORS[name].rule(**arguments)
            with np.errstate(all="ignore"):
                exact = OPERATORS[name].reference(*case.arguments, **case.parameters)
            np.testing.assert_allclose(fetched(run(name, on(gpu, arguments)))[0], exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", (np.uint8, np.int32, np.int64))
def test_labels_that_nobody_checked_count_nothing_and_read_nothing(gpu, kind):
    """The rules refuse them; a kernel must not reach beyond its arrays whatever becomes of the labels after that."""
    z = gpu.asarray(np.random.default_rng(0).standard_normal((1, 3, 2, 2), np.float32).transpose(0, 2, 3, 1))
    z = z.transpose(0, 3, 1, 2)
    weight = gpu.asarray(np.array([1, 2, 3], np.float32))
    wild = np.array([[[0, 200], [2, 3]]], kind)
    void = np.array([[[0, 200], [2, 200]]], kind)
    if kind != np.uint8:
        wild[0, 0, 1], wild[0, 1, 1] = np.iinfo(kind).max, -2
    results = []
    for labels in (wild, void):
        given = gpu.asarray(labels)
        one, same = gpu.empty((), np.float32), gpu.empty_like(z)
        found = []
        for each in (loss.cross_entropy, loss.nll_loss):
            each([one], z, given, weight, ignore_index=200, reduction="mean")
            found.append(one.get())
        for each in (loss.cross_entropy_input, loss.nll_loss_input):
            each([same], z, given, weight, ignore_index=200, reduction="mean")
            found.append(same.get())
        dice.dice_loss([one], z, given, ignore_index=200, smooth=1.0, squared=False)
        results.append([*found, one.get()])
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)
        assert np.isfinite(first).all()


def test_a_mean_far_from_zero_costs_no_digits(gpu):
    x = (1e6 + np.random.default_rng(3).standard_normal((4, 6, 8, 8))).astype(np.float32)
    _, mean, variance = fetched(run("batch_norm_training", on(gpu, {"x": x})))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(variance, exact.var((0, 2, 3)), rtol=1e-6)


def test_many_numbers_that_float32_would_not_sum(gpu):
    x = np.full((1, 2, 64, 64), 2.0**-12, np.float32)
    x[0, 0, 0, 0] = 2.0**13
    for format in ("contiguous", "channels_last"):
        (sums,) = fetched(run("channel_sum", on(gpu, {"x": arranged(x, format)})))
        np.testing.assert_array_equal(sums, x.astype(np.float64).sum((0, 2, 3)).astype(np.float32))


# Memory


def traffic(gpu, name, **arguments):
    """Sectors of global memory that a call's kernels read and write."""
    given = on(gpu, arguments)
    gpu.device.forget()
    run(name, given)
    counts = [each for *_, each in gpu.device.launches]
    return tuple(sum(each.of("global", kind).used for each in counts) for kind in ("read", "write"))


@pytest.fixture
def counted(gpu, request):
    if request.config.getoption("--gpu"):
        pytest.skip("a GPU counts no sectors")
    return gpu


@pytest.mark.parametrize("format", ("contiguous", "channels_last"))
def test_softmax_reads_and_writes_each_byte_once(counted, format):
    for classes in (2, 21, 64):
        x = arranged(np.ones((1, classes, 32, 32), np.float32), format)
        assert traffic(counted, "softmax", x=x) == (x.nbytes // 32, x.nbytes // 32)


@pytest.mark.parametrize("classes", (5, 64))
def test_cross_entropy_reads_each_byte_once_and_its_gradient_the_labels_twice(counted, classes):
    z = arranged(np.ones((1, classes, 32, 64), np.float32), "channels_last")
    labels = np.zeros((1, 32, 64), np.uint8)
    once = z.nbytes // 32
    label = labels.size if classes > 32 else labels.nbytes // 32  # a warp that has a pixel to itself asks alone
    read, written = traffic(counted, "cross_entropy", logits=z, labels=labels)
    assert once + label <= read <= once + label + 4 * 8 * 16
    assert written <= 2 * 256 + 1
    read, written = traffic(counted, "cross_entropy_input", logits=z, labels=labels)
    assert once + 2 * label <= read <= 1.02 * once + 3 * label + 4 * 8 * 16
    assert once <= written <= once + 2 * 256 + 1


@pytest.mark.parametrize("name, reads, writes", (("channel_sum", 1, 0), ("bias_relu_input", 2, 1), ("mse_loss", 2, 0)))
@pytest.mark.parametrize("channels", (1, 3, 32, 33))
def test_sums_read_each_byte_once(counted, name, reads, writes, channels):
    shape = (2, channels, 64, 48)
    arguments = drawn(name, shape, "channels_last")
    once = int(np.prod(shape)) * 4 // 32
    read, written = traffic(counted, name, **arguments)
    assert reads * once <= read <= 1.08 * reads * once + 16
    assert writes * once <= written <= 1.05 * writes * once + 0.15 * once  # of the blocks' sums each number by itself


# What kernels are told of memory


def test_dense_maps_of_few_channels_are_rows_of_whole_vectors():
    x = np.empty((2, 9, 10, 3), np.float32).transpose(0, 3, 1, 2)
    told = matrix(x)
    assert (told.lanes, told.width, told.rows, told.rest, told.flat) == (4, 12, 45, 0, True)
    assert matrix(x[:1, :, :1, :5]).rest == 3
    assert matrix(np.empty((1, 7, 5, 6), np.float64).transpose(0, 3, 1, 2)).width == 6


def test_dense_maps_may_have_more_pixels_than_an_int_counts(monkeypatch):
    """Kernels are not told the height and the breadth of images, ints, where they look for no row by them."""
    rows = []

    def kernel(source, name, **defines):
        return lambda grid, block, count, *sizes: rows.append(int(count))

    monkeypatch.setattr("upconv.kernels.cuda.matrix.kernel", kernel)
    monkeypatch.setattr("upconv.kernels.cuda.pixels.kernel", kernel)
    x = np.lib.stride_tricks.as_strided(np.zeros(8, np.float32), (1, 2, 1, 2**31), (0, 4, 0, 8))
    matrix(x).start("channels.cu", "channel_sum", [x], blocks=1)
    pixels(x).start("softmax.cu", "softmax", [x], blocks=1)
    assert rows == [2**30, 2**31]


def test_slices_of_channels_are_rows_of_pixels():
    x = np.empty((2, 9, 10, 32), np.float32).transpose(0, 3, 1, 2)
    told = matrix(x[:, 4:12], x[:, 16:24])
    assert (told.lanes, told.width, told.rows, told.flat) == (4, 8, 180, True)
    assert matrix(x[:, 3:11]).lanes == 1
    assert matrix(x[:, 2:10]).lanes == 2
    assert not matrix(x[:, :, :, :5]).flat
    assert pixels(x).flat == 2 and pixels(x[:, :8]).flat == 1 and pixels(x[:, :, :5]).flat == 0


def test_planes_that_begin_amid_vectors_are_taken_number_by_number():
    assert plane(np.empty((2, 3, 12), np.float32)).lanes == 4
    assert plane(np.empty((2, 3, 15), np.float32)).lanes == 1
    assert plane(np.empty((1, 1, 15), np.float32)).lanes == 4


def test_the_order_of_sums_asks_no_device(gpu):
    """A map that many blocks share: as many, however many a device could run."""
    x = arranged(np.ones((1, 8, 128, 128), np.float32), "channels_last")
    assert matrix(x).parts() == 32
    np.testing.assert_array_equal(fetched(run("channel_sum", on(gpu, {"x": x})))[0], 128 * 128)
