"""Where arrays live: NumPy's in the computer's memory, CuPy's on a GPU.

CuPy is never imported here: an array of CuPy's can only come from somebody who has imported it.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeGuard

import numpy as np


def cupy() -> ModuleType | None:
    """CuPy, where somebody has imported it."""
    return sys.modules.get("cupy")


def on_device(x: Any) -> bool:
    """True for a CuPy array."""
    module = sys.modules.get("cupy")
    return module is not None and isinstance(x, module.ndarray)


def is_array(x: Any) -> TypeGuard[np.ndarray]:
    """True for a NumPy or CuPy array."""
    return isinstance(x, np.ndarray) or on_device(x)


def namespace(x: Any) -> Any:
    """The module whose functions take `x`: `cupy` for a CuPy array, `numpy` for all else."""
    return cupy() if on_device(x) else np


def elsewhere(*values: Any) -> Any:
    """The GPU of the first CuPy array, where CuPy works on another one now: to be entered by `with`. Else None."""
    module = sys.modules.get("cupy")
    if module is not None:
        for each in values:
            first = each[0] if isinstance(each, (tuple, list)) and each else each
            if isinstance(first, module.ndarray):
                return None if first.device.id == module.cuda.runtime.getDevice() else first.device
    return None


def aligned(x: Any) -> bool:
    """Whether numbers begin where the processor wants them; CuPy has no arrays where they do not."""
    return on_device(x) or x.flags.aligned


class _Trust(threading.local):
    trusting = False


_trust = _Trust()


@contextmanager
def trusted() -> Iterator[None]:
    """Within it nothing of a GPU is read in this thread to check it: the caller knows that it is right."""
    before, _trust.trusting = _trust.trusting, True
    try:
        yield
    finally:
        _trust.trusting = before


def readable(x: Any) -> bool:
    """Whether Python may look at numbers of `x` to check them.

    On a GPU not where they are `trusted`, since looking waits for all that runs there, and not while a stream is
    captured as a graph.
    """
    return not on_device(x) or not (_trust.trusting or captured(x))


def captured(x: Any) -> bool:
    """Whether what is done with `x` goes into a graph that is being captured, instead of being done."""
    return on_device(x) and cupy().cuda.get_current_stream().is_capturing()  # type: ignore[union-attr]


def host(x: Any) -> np.ndarray:
    """The numbers of `x` in a NumPy array, copied from the GPU if they are there."""
    return x.get() if on_device(x) else x


def address(x: Any) -> int:
    """Where the first number of an array lies, in the memory of its device."""
    return x.data.ptr if on_device(x) else x.ctypes.data
