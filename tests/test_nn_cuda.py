"""Networks on CuPy arrays, by the double: NumPy's numbers, nothing copied unasked, a sentence for what cannot be."""

import copy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from cuda_cases import NETWORKS, OPTIMIZERS, batches, stepping
from training_cases import model, same

from upconv import kernels, nn
from upconv.nn.device import moved
from upconv.nn.gradients import may_write

pytestmark = pytest.mark.usefixtures("without_kernels")
networks = pytest.mark.parametrize("name", NETWORKS)


# A training step


@networks
def test_training_gives_the_losses_of_the_cpu_and_reads_labels_alone(name, gpu):
    make, shape = NETWORKS[name]
    here, there = make(), make().to("cuda")
    steps = [stepping(each, OPTIMIZERS["sgd"](each.parameters()), clip=1.0) for each in (here, there)]
    for seed, batch in enumerate(batches(3, here, shape)):
        moved = [gpu.asarray(each) for each in batch]
        nn.manual_seed(seed)
        expected = steps[0](*batch).item()
        nn.manual_seed(seed)
        gpu.device.transfers.clear()
        loss = steps[1](*moved)
        assert sum(gpu.device.transfers.values()) <= 1, gpu.device.transfers  # are the labels classes?
        np.testing.assert_allclose(loss.item(), expected, rtol=1e-4)
    for key, array in there.state_dict().items():
        np.testing.assert_allclose(array, here.state_dict()[key], rtol=1e-3, atol=1e-4, err_msg=key)


def test_gradients_that_meet_again_are_those_of_the_cpu(gpu):
    """Views, sums in place and shared arrays: who may write where is told otherwise than on the CPU."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((2, 3, 4, 5)) for _ in range(2)]

    def gradients(arrays):
        a, b = (nn.Tensor(x, requires_grad=True) for x in arrays)
        both = nn.concatenate([nn.relu(a), b])
        shifted = a + a.detach()
        middle = nn.crop(both, (2, 2))
        flat = nn.flatten(both) * 2.0 - 1.0
        again = nn.unflatten(flat, 1, (6, 4, 5))
        total = (shifted * b).sum() + middle.mean() + nn.relu(again + both).sum() / 3 + (-shifted).sum() + b.sum()
        (total + total * 0.5).backward()
        return a, b

    here, there = gradients(arrays), gradients([gpu.asarray(x) for x in arrays])
    assert not gpu.device.transfers
    for a, b in zip(here, there, strict=True):
        assert isinstance(b.grad, gpu.ndarray)
        np.testing.assert_allclose(b.grad.get(), a.grad, rtol=1e-12, atol=1e-14)


def test_an_array_may_stand_before_a_tensor(gpu):
    x = gpu.asarray(np.arange(3.0))
    tensor = nn.Tensor(2 * x, requires_grad=True)
    (x * tensor + (x - tensor)).sum().backward()
    assert (tensor.grad.get() == [-1, 0, 1]).all()
    with pytest.raises(TypeError, match=r"^mul: arrays must lie on one device, got left on cpu, right on cuda:0"):
        x * nn.Tensor(np.arange(3.0))


def test_sums_and_products_keep_the_memory_format(gpu):
    x = nn.Tensor(kernels.channels_last(np.ones((2, 3, 4, 5)))).to("cuda")
    y = nn.Tensor(x.data, requires_grad=True)
    assert (x + y).data.strides == (x * y).data.strides == x.data.strides
    (x * y).backward(x)
    assert y.grad.strides == x.data.strides


def test_only_what_is_no_view_may_be_written(gpu):
    fresh = gpu.zeros((2, 3))
    assert may_write(fresh) and not any(map(may_write, (fresh.view(), fresh[:1], fresh.reshape(6), fresh.T)))
    slots = kernels.channels_last(gpu.zeros((1, 4, 2, 3)))
    whole = kernels.concatenate([slots[:, :1], slots[:, 1:]])
    assert gpu.may_share_memory(whole, slots) and not may_write(whole)


def test_a_mean_over_all_batches_is_that_of_the_cpu(gpu):
    here, there = nn.BatchNorm2d(3, momentum=None), nn.BatchNorm2d(3, momentum=None).to("cuda")
    for _ in range(3):
        x = np.random.default_rng(0).standard_normal((2, 3, 4, 4), np.float32)
        here(x), there(gpu.asarray(x))
    assert not gpu.device.transfers and there.num_batches_tracked.item() == 3
    np.testing.assert_allclose(there.running_var.get(), here.running_var, rtol=1e-5)


# Moving


def test_a_tensor_moves(gpu):
    x = kernels.channels_last(np.random.default_rng(0).standard_normal((2, 3, 4, 5)))
    tensor = nn.Tensor(x, requires_grad=True)
    there = tensor.to("cuda")
    assert (tensor.device, there.device) == ("cpu", "cuda:0") and isinstance(there.data, gpu.ndarray)
    assert there.data.strides == x.strides and there.to("cuda:0") is there and tensor.cpu() is tensor
    assert "device='cuda:0'" in repr(there)
    back = there.cpu()
    assert back.numpy().strides == x.strides and (back.numpy() == x).all()
    (there * 2.0).sum().backward()
    assert (tensor.grad == 2).all() and isinstance(tensor.grad, np.ndarray)
    assert nn.Tensor(gpu.asarray(3.0)).item() == 3.0
    for convert in (np.asarray, nn.Tensor.numpy):
        with pytest.raises(TypeError, match=r"Tensor: the data lie on cuda:0; tensor\.cpu\(\)"):
            convert(there)


def test_an_array_moves_between_gpus_in_its_memory_format(request, gpu, monkeypatch):
    if request.config.getoption("--gpu"):
        pytest.skip("one GPU is not two")
    x = kernels.channels_last(np.random.default_rng(0).standard_normal((2, 3, 4, 5)))
    there = moved(x, "cuda")
    monkeypatch.setattr(gpu.ndarray, "device", property(lambda self: SimpleNamespace(id=1)))
    again = moved(there, "cuda:0")
    assert again is not there and again.strides == there.strides == x.strides and (again.get() == x).all()


def apart(array):
    """How far neighbours lie apart along the axes that have some."""
    return [step for step, length in zip(array.strides, array.shape, strict=True) if length > 1]


def test_a_model_moves_and_comes_back(gpu, tmp_path):
    network = nn.DeconvNet(1, 2, 2, depth=2, tied=True, rng=0)
    before, parameters = network.state_dict(), list(network.parameters())
    strides = [apart(parameter.data) for parameter in parameters]
    parameters[0].grad = np.zeros_like(parameters[0].data)
    assert network.to("cuda") is network
    assert list(network.parameters()) == parameters and parameters[0].grad is None
    assert all(isinstance(x, gpu.ndarray) for x in (*(p.data for p in parameters), *network.buffers()))
    state = network.state_dict()
    assert all(type(x) is np.ndarray and x.flags.c_contiguous for x in state.values()) and same(network, network)
    nn.save(network, tmp_path / "there.safetensors")
    assert nn.load(tmp_path / "there.safetensors").state_dict().keys() == before.keys()
    assert copy.deepcopy(network).to("cpu").state_dict()["head.weight"].tobytes() == before["head.weight"].tobytes()
    network.to("cpu")
    assert [apart(parameter.data) for parameter in parameters] == strides
    assert all(network.state_dict()[key].tobytes() == x.tobytes() for key, x in before.items())


def test_states_load_wherever_they_and_the_model_are(gpu):
    state = model(rng=3).state_dict()
    for given in (state, {name: gpu.asarray(array) for name, array in state.items()}):
        for device in ("cpu", "cuda"):
            network = model().to(device)
            network.load_state_dict(given)
            assert network.state_dict()["head.weight"].tobytes() == state["head.weight"].tobytes()
            assert next(network.parameters()).device == ("cpu" if device == "cpu" else "cuda:0")


def test_a_dtype_is_converted_on_the_device(gpu):
    network = model(batch_norm=True).to("cuda").to(np.float64)
    assert not gpu.device.transfers
    assert {parameter.dtype for parameter in network.parameters()} == {np.dtype(np.float64)}
    assert {each.dtype.name for each in network.buffers()} == {"float64", "int64"}


def test_weights_are_drawn_alike(gpu):
    here, there = np.zeros((3, 2, 2, 2), np.float32), gpu.zeros((3, 2, 2, 2), np.float32)
    for weight in (here, there):
        nn.init.he_normal_(weight, rng=0)
    assert (there.get() == here).all()


# What cannot be


def test_arrays_of_two_devices_are_refused_in_a_sentence(gpu):
    images, labels = np.zeros((1, 1, 8, 8), np.float32), np.zeros((1, 8, 8), np.int64)
    here, there = model(), model().to("cuda")
    with pytest.raises(TypeError, match=r"^Conv2d\(.*\): the input lies on cpu, weight and bias on cuda:0; move one"):
        there(images)
    with pytest.raises(TypeError, match=r"^Conv2d\(.*\): the input lies on cuda:0, weight and bias on cpu; move one"):
        here(gpu.asarray(images))
    weight = next(there.parameters())
    with pytest.raises(TypeError, match=r"^conv2d: weight must be a NumPy array like .*, got a CuPy array$"):
        nn.functional.conv2d(images, weight)
    scores = there(gpu.asarray(images))
    with pytest.raises(TypeError, match=r"^cross_entropy: labels must be a CuPy array like .*, got a NumPy array$"):
        nn.cross_entropy(scores, labels)
    with pytest.raises(TypeError, match=r"^mul: arrays must lie on one device, got left on cuda:0, right on cpu; \.to"):
        scores * np.ones(1, np.float32)
    with pytest.raises(TypeError, match=r"^backward: arrays must lie on one device"):
        scores.backward(np.ones(scores.shape, np.float32))
    optimizer = nn.SGD(there.parameters(), 0.1)
    optimizer.params[0].grad = np.zeros(optimizer.params[0].shape, np.float32)
    with pytest.raises(
        TypeError, match=r"^SGD: arrays must lie on one device, got parameter on cuda:0, gradient on cpu"
    ):
        optimizer.step()
    assert not gpu.device.transfers


@pytest.mark.parametrize(
    "use", [lambda: model().to("cuda"), lambda: nn.Tensor(1.0).to("cuda"), lambda: nn.capture(len)]
)
def test_without_cupy_the_extras_are_named(use, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"needs cupy, .*: pip install 'upconv\[cuda12\]' or 'upconv\[cuda13\]'$"):
        use()


def test_without_a_gpu_the_reason_is_told(gpu, monkeypatch):
    def none():
        raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")

    monkeypatch.setattr(gpu.cuda.runtime, "getDeviceCount", none)
    with pytest.raises(RuntimeError, match=r"^device is 'cuda', but no GPU answers: cudaErrorInsufficientDriver"):
        model().to("cuda")


@pytest.mark.parametrize("name", ["cuda:99", "cuda:", "cuda:x", "cpu:0"])
def test_devices_that_there_are_not(name, gpu):
    with pytest.raises(ValueError, match=f"^device is '{name}'; "):
        model().to(name)
    with pytest.raises(TypeError):
        model().to("gpu")
