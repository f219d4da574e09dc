"""Weights of PyTorch's networks, by way of files and commands: the same outputs here and there, in both directions.

Here PyTorch's models are written out under the names that people have on disk: torchvision's, milesial's U-Net.
"""

import numpy as np
import pytest
from network_cases import drawn, randomised

from upconv import nn
from upconv.cli import main

pytestmark = pytest.mark.pytorch

MODELS = {  # the network's name, ours, theirs, a shape
    "vgg11": (
        "vgg",
        lambda: nn.VGG(11, 5, 3, 2, size=64, rng=0),
        lambda twins: twins.torch_vgg(twins.PLANS[11], 5, 3, 2, False, 2),
        (2, 3, 64, 64),
    ),
    "vgg16_bn": (
        "vgg",
        lambda: nn.VGG(16, 5, 3, 2, True, 64, rng=0),
        lambda twins: twins.torch_vgg(twins.PLANS[16], 5, 3, 2, True, 2),
        (2, 3, 64, 64),
    ),
    "resnet18": (
        "resnet",
        lambda: nn.ResNet(18, 7, 3, 4, rng=0),
        lambda twins: twins.torch_resnet(twins.BLOCKS[18], 7, 3, 4),
        (2, 3, 48, 33),
    ),
    "unet": (
        "unet",
        lambda: nn.UNet(2, 3, 4, 3, rng=0),
        lambda twins: twins.UNet(2, 3, 4, 3, False),
        (2, 2, 32, 24),
    ),
    "unet, batch normalisation": (
        "unet",
        lambda: nn.UNet(1, 2, 4, 4, batch_norm=True, rng=0),
        lambda twins: twins.UNet(1, 2, 4, 4, True),
        (1, 1, 32, 48),
    ),
}


@pytest.fixture
def twins(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    import pytorch_networks

    monkeypatch.chdir(tmp_path)
    return pytorch_networks


def outputs(twins, ours, theirs, x):
    with nn.no_grad(), twins.torch.no_grad():
        return ours.eval()(x).data, theirs.eval()(twins.torch.from_numpy(x)).numpy()


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * abs(theirs).max())
    assert np.ptp(theirs) > 0


@pytest.mark.parametrize("name", MODELS)
def test_weights_come_and_go(twins, name):
    from safetensors.torch import load_file, save_file

    network, make, make_theirs, shape = MODELS[name]
    twins.torch.manual_seed(0)
    theirs, x = make_theirs(twins), drawn(*shape)
    with twins.torch.no_grad():
        theirs.train()(twins.torch.from_numpy(x))  # running statistics that are not 0 and 1
    save_file(theirs.state_dict(), "theirs.safetensors")
    assert main(["import", "theirs.safetensors", "ours.safetensors", "--network", network]) == 0
    model = nn.load("ours.safetensors")
    close(*outputs(twins, model, theirs, x))

    changed = randomised(make())
    assert changed.config == model.config
    nn.save(changed, "changed.safetensors")
    assert main(["export", "changed.safetensors", "back.safetensors"]) == 0
    theirs.load_state_dict(load_file("back.safetensors"))  # strict
    close(*outputs(twins, changed, theirs, x))


def test_a_state_goes_by_memory_alone(twins):
    theirs, x = twins.UNet(1, 2, 2, 2, True), drawn(1, 1, 16, 16)
    model = nn.from_pytorch(theirs.state_dict(), "unet")
    close(*outputs(twins, model, theirs, x))
    changed = randomised(model)
    theirs.load_state_dict({key: twins.torch.from_numpy(value) for key, value in nn.to_pytorch(changed).items()})
    close(*outputs(twins, changed, theirs, x))


def test_a_network_that_we_lack_is_refused_in_its_own_names(twins):
    """A resnet50 has blocks that we do not: its state is refused in torchvision's names."""
    state = twins.torch_resnet(twins.BLOCKS[18], 5, 3, 2).state_dict()
    state["layer1.0.conv3.weight"] = twins.torch.ones(8, 2, 1, 1)
    with pytest.raises(ValueError, match=r"the state does not fit ResNet: unexpected: layer1\.0\.conv3\.weight$"):
        nn.from_pytorch(state, "resnet")
