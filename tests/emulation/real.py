"""CuPy itself in the place of its double, for tests on a GPU."""

from collections import Counter
from contextlib import contextmanager

import pytest

from emulation.device import Device
from upconv.kernels.cuda import module


class Uncounted(Device):
    """What is known of a real device: the kernels started, in `launches` and `names`."""

    @property
    def names(self):
        return Counter(self.launches)


@contextmanager
def prepared():
    """As `cupy_double.installed`."""
    import cupy

    device, start = Uncounted(), module.Kernel.__call__

    def noted(kernel, *args, **kwargs):
        device.launches.append(kernel.name)
        return start(kernel, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.Kernel, "__call__", noted)
        patch.setattr(cupy, "device", device, raising=False)
        yield cupy
        cupy.cuda.runtime.deviceSynchronize()
