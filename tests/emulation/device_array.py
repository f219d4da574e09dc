"""The double's `cupy.ndarray`: a NumPy array in a wrapper that goes to the host only where it is told to.

It refuses more than CuPy's: no NumPy function takes it, and `index`, `bool` masks and the like are counted as the
transfers that they are. As CuPy's, results of functions are C-contiguous whatever the strides of the arguments.
"""

import operator
from types import SimpleNamespace

import numpy as np

from emulation.device import Flags, Pointer, device, fresh
from emulation.device_call import SCALARS, Wrapped, call, host, unsupported

IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
)


class ndarray(Wrapped):
    """An array on the device."""

    __array_ufunc__ = None
    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        """As `cupy.ndarray`."""
        if memptr is None:
            assert strides is None, "strides of memory that is not given"
            self._memory, self._host = fresh(shape, dtype, np.empty(shape, dtype, order).strides)
        else:
            self._memory = memptr.memory
            self._host = self._memory.array(shape, dtype, strides, memptr.ptr - self._memory.ptr)
        self.base = None

    # what CuPy tells without asking the device

    shape = property(lambda self: self._host.shape)
    strides = property(lambda self: self._host.strides)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    dtype = property(lambda self: self._host.dtype)
    flags = property(lambda self: Flags(self._host, self.base))
    T = property(lambda self: self._view(self._host.T))
    real = property(lambda self: self._view(self._host.real))
    device = property(lambda self: SimpleNamespace(id=0))

    @property
    def data(self):
        """As CuPy's MemoryPointer: `ptr` is the address of the first number."""
        return Pointer(self._memory, self._host.ctypes.data if self._host.size else self._memory.ptr)

    # the host

    def __array__(self, dtype=None, copy=None):
        raise TypeError(IMPLICIT)

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(f"numpy.{function.__name__} was given a CuPy array: call the function of its namespace")

    def get(self, stream=None, order="C", out=None, blocking=True):
        device.transfer("get")
        if out is None:
            return self._host.copy(order)
        out[...] = self._host
        return out

    def set(self, arr, stream=None):
        device.upload("set")
        if not isinstance(arr, np.ndarray) or arr.shape != self.shape or arr.dtype != self.dtype:
            raise ValueError("set: shapes and dtypes must agree")
        self._host[...] = arr

    def _scalar(what):
        def transfer(self, *args):
            device.transfer(what)
            return getattr(self._host, what)(*args)

        return transfer

    item, tolist, tobytes = _scalar("item"), _scalar("tolist"), _scalar("tobytes")
    __bool__, __int__, __float__, __complex__ = map(_scalar, ("__bool__", "__int__", "__float__", "__complex__"))

    def __repr__(self):
        return f"cupy.{self._host!r}"

    def __reduce__(self):
        from emulation.device_functions import array

        return array, (self.get(),)

    # indices

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, index):
        index = tuple_of(index, reading=True)
        if not any(each is Ellipsis for each in index):  # a single number is a view too
            index = (*index, Ellipsis)
        return call(operator.getitem, (self, index), {})

    def __setitem__(self, index, value):
        index = tuple_of(index)
        if not isinstance(value, (ndarray, *SCALARS)):
            raise unsupported(value)
        several = not isinstance(value, SCALARS) and value.size > 1
        if several and any(isinstance(each, ndarray) and each.dtype.kind in "iu" for each in index):
            device.do(lambda: once(self._host, host(index)))
        device.do(lambda: operator.setitem(self._host, host(index), host(value)))

    # views and copies

    def reshape(self, *shape, order="C"):
        return call(np.reshape, (self, shape[0] if len(shape) == 1 else shape), {"order": order})

    def ravel(self, order="C"):
        return call(np.ravel, (self,), {"order": order})

    def flatten(self, order="C"):
        return self.copy(order).ravel(order)

    def transpose(self, *axes):
        return self._view(self._host.transpose(*axes))

    def swapaxes(self, axis1, axis2):
        return self._view(self._host.swapaxes(axis1, axis2))

    def squeeze(self, axis=None):
        return self._view(self._host.squeeze(axis))

    def diagonal(self, offset=0, axis1=0, axis2=1):
        view = self._host.diagonal(offset, axis1, axis2)
        return self._view(np.lib.stride_tricks.as_strided(view, writeable=True))

    def view(self, dtype=None):
        return self._view(self._host.view(self.dtype if dtype is None else dtype))

    def copy(self, order="C"):
        if self.device.id and order == "K" and not self.flags.forc:
            raise NotImplementedError("CuPy cannot copy non-contiguous array between devices.")
        return call(np.copy, (self,), {"order": order}, order)

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if not copy and self.dtype == dtype and order == "K":
            return self
        return call(np.ndarray.astype, (self, dtype), {"order": order}, order)

    def fill(self, value):
        if isinstance(value, ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        device.do(lambda: self._host.fill(host(value)))


def tuple_of(index, reading=False):
    """An index as a tuple of what CuPy takes; True and False in an array are counted where that is to be read."""
    index = index if isinstance(index, tuple) else (index,)
    for each in index:
        if isinstance(each, np.ndarray):
            raise unsupported(each)
        if isinstance(each, list):
            device.upload("index")
        if reading and isinstance(each, ndarray) and each.dtype.kind == "b":
            device.transfer("mask")
    return index


def once(x, index):
    """CuPy writes in no certain order, so no number may be written twice."""
    places = np.arange(x.size).reshape(x.shape)[index]
    assert np.unique(places).size == places.size, "an index comes twice: which value stays is not certain on a device"
