"""State dicts of PyTorch's models: what they call what we have, and the networks that their shapes tell of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import init
from ..models import VGG, ResNet, UNet
from ..models.resnet import BLOCKS
from ..models.vgg import STAGES
from ..module import Module
from ..tensor import Array

Arrays = Mapping[str, Array]
WRAPPER = "module."  # what torch.nn.DataParallel puts before every name


def unet_names(depth: int) -> dict[str, str]:
    """Of a U-Net as in https://github.com/milesial/Pytorch-UNet, whose names many have: ours -> theirs."""
    names = {"enc.0": "inc.double_conv", "head": "outc.conv"}
    for i in range(depth):
        names[f"enc.{i + 1}"] = f"down{i + 1}.maxpool_conv.1.double_conv"
        names[f"up.{i}"] = f"up{i + 1}.up"
        names[f"dec.{i}"] = f"up{i + 1}.conv.double_conv"
    return names


def _unet(state: Arrays, padded: bool = True) -> Module:
    own = "enc.0.0.weight" in state
    levels = r"enc\.[1-9]\d*\.0\.weight" if own else r"down\d+\.maxpool_conv\.1\.double_conv\.0\.weight"
    first, head = ("enc.0", "head") if own else ("inc.double_conv", "outc.conv")
    width, in_channels = state[f"{first}.0.weight"].shape[:2]
    return UNet(
        in_channels,
        len(state[f"{head}.weight"]),
        width,
        sum(1 for name in state if re.fullmatch(levels, name)),
        padded,
        batch_norm=f"{first}.1.running_mean" in state,
        rng=0,
    )


def _vgg(state: Arrays) -> Module:
    """As torchvision's vgg11 to vgg19, with or without _bn."""
    layers = sum(1 for name, array in state.items() if name.startswith("features.") and array.ndim == 4)
    depths = {sum(stages): depth for depth, stages in STAGES.items()}
    width, in_channels = state["features.0.weight"].shape[:2]
    side = math.isqrt(state["classifier.0.weight"].shape[1] // (8 * width))
    return VGG(
        depths.get(layers, layers),
        len(state["classifier.6.weight"]),
        in_channels,
        width,
        "features.1.running_mean" in state,
        32 * side,
        rng=0,
    )


def _resnet(state: Arrays) -> Module:
    """As torchvision's resnet18 and resnet34."""
    blocks = sum(1 for name in state if re.fullmatch(r"layer3\.\d+\.conv1\.weight", name))
    depths = {stages[2]: depth for depth, stages in BLOCKS.items()}
    width, in_channels = state["conv1.weight"].shape[:2]
    return ResNet(depths.get(blocks, blocks), len(state["fc.weight"]), in_channels, width, rng=0)


NETWORKS: dict[str, Callable[..., Module]] = {"resnet": _resnet, "unet": _unet, "vgg": _vgg}


def from_pytorch(state: Mapping[str, Any], network: str, **options: Any) -> Module:
    """The network of a PyTorch model's state dict, with its weights, in training mode.

    state: name -> array, or PyTorch's CPU tensor: `model.state_dict()`, or what
    `safetensors.numpy.load_file("model.safetensors")` reads. Its shapes tell width, depth, channels and classes.

    network: "unet", under the names of https://github.com/milesial/Pytorch-UNet (inc, down1, up1, outc, ...; with
    transposed convolutions, with or without batch normalisation), or under our own; padded=False makes it the paper's
    form, which the weights do not tell. "vgg": torchvision's vgg11, 13, 16, 19, vgg11_bn, ...; "resnet": torchvision's
    resnet18 and resnet34. A "module." before every name, as DataParallel leaves it, does not matter.

    Raises ValueError where the state is of another network, listing in its own words the names that are missing and
    unexpected and the arrays of another shape or dtype.

    >>> from upconv import nn
    >>> state = nn.to_pytorch(nn.UNet(1, 2, width=4, depth=2, batch_norm=True, rng=0))
    >>> sorted(state)[:2]
    ['down1.maxpool_conv.1.double_conv.0.weight', 'down1.maxpool_conv.1.double_conv.1.bias']
    >>> nn.from_pytorch(state, "unet").config["depth"]
    2
    """
    if network not in NETWORKS:
        raise ValueError(f"from_pytorch: network is {network!r}; {', '.join(sorted(NETWORKS))} are known")
    arrays = {name: np.asarray(value) for name, value in state.items()}
    if all(name.startswith(WRAPPER) for name in arrays):
        arrays = {name.removeprefix(WRAPPER): array for name, array in arrays.items()}
    weights = sum(array.size for array in arrays.values())
    try:
        with init.at_most(
            2 * weights + (1 << 20)
        ):  # not what nonsense asks for; a little that is missing is told below
            model = NETWORKS[network](arrays, **options)
        if arrays and all(array.dtype == np.float64 for array in arrays.values() if array.dtype.kind == "f"):
            model.to(np.float64)
        model._load(arrays, True, str if _own(model, arrays) else _renamed(model))
    except KeyError as error:
        shown = ", ".join(list(arrays)[:4])
        raise ValueError(
            f"from_pytorch: the state is of no {network}: {error.args[0]} is missing; it has {shown}, ..."
        ) from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"from_pytorch: {str(error).removeprefix('load_state_dict: ')}") from None
    return model


def to_pytorch(model: Module) -> dict[str, Array]:
    """`model.state_dict()` under the names of the PyTorch models that `from_pytorch` reads.

    Those of VGG and ResNet, and of networks that have no counterpart there, are our own.

    `{name: torch.from_numpy(array) for name, array in nn.to_pytorch(model).items()}` is what PyTorch loads.
    """
    renamed = _renamed(model)
    return {renamed(name): array for name, array in model.state_dict().items()}


def _renamed(model: Module) -> Callable[[str], str]:
    """What gives the counterpart's name for one of ours."""
    names = unet_names(model.depth) if isinstance(model, UNet) else {}

    def rename(name: str) -> str:
        ours = next((prefix for prefix in names if name.startswith(f"{prefix}.")), None)
        return name if ours is None else names[ours] + name.removeprefix(ours)

    return rename


def _own(model: Module, state: Arrays) -> bool:
    return isinstance(model, UNet) and "enc.0.0.weight" in state
