"""What upconv is measured beside: one module here for each peer, which imports only where its packages are installed.

A peer has TITLE, VERSION, prepare(threads), which is called once before anything else, and

- candidates(call): functions that make a call of an operator, by the names of entrants (a peer in one of its formats);
  what they return is one array or several, the first being the call's first result; none where it cannot make the call;
- networks(model, images, labels): the same for a whole U-Net, as pairs (forward, training step or None).

All inputs are in the entrant's own format before the clock starts, and weights are constants where it allows that.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from upconv import kernels

PACKAGES = {
    "pytorch": ("torch",),
    "onnx_runtime": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "openvino"),
    "scipy": ("scipy",),
}
ENTRANTS = {
    "PyTorch NHWC": "pytorch",
    "PyTorch NCHW": "pytorch",
    "ONNX Runtime": "onnx_runtime",
    "OpenVINO NHWC": "openvino",
    "OpenVINO NCHW": "openvino",
    "SciPy": "scipy",
}


@cache
def load(name: str) -> Any:
    """The peer's module, ready to compute with as many threads as upconv. Raises ImportError saying what to install."""
    try:
        peer: ModuleType = import_module(f"{__name__}.{name}")
    except ImportError as error:
        packages = PACKAGES[name]
        if error.name not in packages:
            raise
        text = f"{name} needs {' and '.join(packages)}: pip install {' '.join(packages)}"
        raise ImportError(text, name=error.name) from error
    peer.prepare(kernels.get_num_threads())
    return peer


def installed(names: tuple[str, ...] = tuple(PACKAGES)) -> tuple[list[Any], list[str]]:
    """(the peers of these names that are installed, a sentence for each that is not)."""
    found, missing = [], []
    for name in names:
        try:
            found.append(load(name))
        except ImportError as error:
            missing.append(str(error))
    return found, missing
