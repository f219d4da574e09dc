"""CuPy itself in the place of its double, for tests on a GPU."""

from contextlib import contextmanager

import pytest

from emulation.device import Device
from upconv.kernels.cuda import module


class Unknown:
    """What a device does not count: a test that asks for it is over."""

    def __getattr__(self, name):
        pytest.skip("only the emulation counts")


@contextmanager
def prepared():
    """As `cupy_double.installed`."""
    import cupy

    device, start = Device(), module.Kernel.__call__  # of which the kernels started are known

    def noted(kernel, grid, block, *args, **kwargs):
        device.launches.append(
            (kernel.name, *(each if isinstance(each, tuple) else (each,) for each in (grid, block)), Unknown())
        )
        return start(kernel, grid, block, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.Kernel, "__call__", noted)
        patch.setattr(cupy, "device", device, raising=False)
        yield cupy
        cupy.cuda.runtime.deviceSynchronize()
