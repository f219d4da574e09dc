"""Optimisers, and steps captured as graphs, on CuPy arrays, by the double: NumPy's numbers, and plain steps' bits."""

import numpy as np
import pytest
from cuda_cases import CLASSES, NETWORKS, OPTIMIZERS, batches, stepping
from training_cases import model, same

from upconv import nn
from upconv.kernels.base import products
from upconv.nn import graph

pytestmark = pytest.mark.usefixtures("without_kernels")
networks = pytest.mark.parametrize("name", NETWORKS)


# Optimisers


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimiser_follows_its_model(kind, gpu):
    """Made before the model moves, or after, or loaded: the steps are those of the CPU."""
    here, there, again = model(), model(), model().to("cuda")
    optimizers = [OPTIMIZERS[kind](each.parameters()) for each in (here, there, again)]
    steps = [*map(stepping, (here, there, again), optimizers)]
    given = [*batches(4, here, (1, 1, 8, 8))]
    for batch in given[:2]:
        steps[0](*batch), steps[1](*batch)
    there.to("cuda")
    again.load_state_dict(there.state_dict())
    optimizers[2].load_state_dict(optimizers[1].state_dict())
    for batch in given[2:]:
        steps[0](*batch), [step(*map(gpu.asarray, batch)) for step in steps[1:]]
    assert same(there, again)
    for key, array in there.state_dict().items():
        np.testing.assert_allclose(array, here.state_dict()[key], rtol=1e-3, atol=1e-4, err_msg=key)
    for state in optimizers[1].state_dict()["state"].values():
        assert state["step"] == 4 and all(type(x) is np.ndarray for name, x in state.items() if name != "step")


@pytest.mark.parametrize("scale", [1e-3, 1e3, np.nan])
def test_gradients_are_clipped_where_they_are(scale, gpu):
    rng, norms = np.random.default_rng(0), []
    here, there = ([nn.Parameter(np.zeros(shape, np.float32)) for shape in ((3, 4), (5,))] for _ in range(2))
    for a, b in zip(here, there, strict=True):
        a.grad = (scale * rng.standard_normal(a.shape)).astype(np.float32)
        b.grad = gpu.asarray(a.grad)
    norms = [nn.clip_grad_norm_(each, 1.0) for each in (here, there)]
    assert not gpu.device.transfers
    np.testing.assert_allclose(float(norms[1]), norms[0])
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(b.grad.get(), a.grad, rtol=1e-6)


# Graphs


@pytest.fixture
def without_cublas(monkeypatch):
    """Products as they are in a graph, to the bit."""
    monkeypatch.setattr(products, "captured", lambda x: True)


@networks
def test_captured_steps_repeat_the_steps_bit_for_bit(name, gpu, without_cublas):
    make, shape = NETWORKS[name]
    eager, replayed = make().to("cuda"), make().to("cuda")
    optimizers = [OPTIMIZERS["adam"](each.parameters()) for each in (eager, replayed)]
    step, captured = (stepping(*each, clip=1.0) for each in zip((eager, replayed), optimizers, strict=True))
    captured = nn.capture(captured)
    for number, batch in enumerate(batches(6, make(), shape)):
        for optimizer in optimizers:
            optimizer.lr = 0.01 / (1 + number)
        nn.manual_seed(number)
        loss = step(*map(gpu.asarray, batch)).item()
        nn.manual_seed(number)
        assert captured(*batch).item() == loss, number  # from NumPy arrays, too
    assert same(eager, replayed)
    for a, b in zip(*(optimizer.state_dict()["state"].values() for optimizer in optimizers), strict=True):
        assert a["step"] == 6 and all(np.array_equal(a[key], b[key]) for key in a)


def test_a_captured_prediction(gpu, without_cublas):
    network = model().to("cuda").eval()
    images = np.random.default_rng(0).standard_normal((5, 1, 1, 8, 8), np.float32)
    with nn.inference_mode():
        predicting = nn.capture(lambda x: nn.softmax(network(x)), warmup=1)
        for image in images:
            tensor = nn.Tensor(image).to("cuda")
            expected = nn.softmax(network(tensor)).data.get()
            given = predicting(tensor)
            assert (given.data.get() == expected).all()
    assert given.device == "cuda:0"


def test_a_step_runs_once_for_its_graph(gpu):
    calls = []
    step = nn.capture(lambda x: calls.append(1) or x * 2.0)
    for value in range(5):
        assert step(nn.Tensor(np.float32([value]))).item() == 2 * value
    assert len(calls) == 3


def test_memory_of_a_graph_outlives_it_where_arrays_lie_in_it(gpu, monkeypatch):
    used = []
    monkeypatch.setattr(graph, "_used", lambda device, pool: pool in used)

    def lent():
        step = nn.capture(lambda x: x * 2.0, warmup=1)
        step(gpu.ones(2)), step(gpu.ones(2))
        return [pool for *_, pool in graph._lent]

    used.append(lent()[-1])
    assert used[0] in lent() and used[0] in lent()
    (first,) = used
    used.clear()
    assert first not in lent() and len(lent()) == 1


def test_what_a_graph_cannot_be_given(gpu):
    with pytest.raises(ValueError, match=r"^capture: warmup is 0; 1 or more steps"):
        nn.capture(len, warmup=0)
    with pytest.raises(TypeError, match=r"^capture: step must be a function, got a int$"):
        nn.capture(3)
    step = nn.capture(lambda x, y: x + y)
    x = gpu.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match=r"^capture: argument 1 is a float; arrays and tensors are needed$"):
        step(x, 2.0)
    step(x, x)
    for other in (gpu.zeros((2, 4), np.float32), gpu.zeros((2, 3))):
        with pytest.raises(ValueError, match=r"^capture: the arguments are .*; the step was begun with "):
            step(x, other)
    with pytest.raises(ValueError, match=r"^capture: the arguments are "):
        step(x)


def test_a_step_that_reads_cannot_be_captured(gpu):
    step = nn.capture(lambda x: float(x.sum()), warmup=1)
    assert step(gpu.ones(3)) == 3
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^capture: this step cannot become a graph; does it read numbers"):
            step(gpu.ones(3))
    assert (gpu.ones(3) * 2).sum().item() == 6  # no capture is left open


def test_labels_in_a_graph_are_checked_before_it(gpu):
    """They are looked at in the steps before the capture; a launch cannot, and must touch no memory of others."""
    logits = gpu.zeros((2, CLASSES), np.float32)
    step = nn.capture(nn.cross_entropy, warmup=1)
    with pytest.raises(IndexError, match=r"^cross_entropy: labels must be 0\.\.2"):
        step(logits, gpu.asarray([0, 7]))
