"""The functions that CuPy has from NumPy and that work as NumPy's do, on the double's arrays."""

import inspect
from functools import cache, wraps

import numpy as np

from emulation.device import device, fresh
from emulation.device_array import ndarray
from emulation.device_call import SCALARS, call, host, inputs, unsupported
from emulation.device_names import (
    COMPARISONS,
    FUNCTIONS,
    LIKE,
    METHODS,
    OPERATORS,
    PRODUCTS,
    SIGNS,
    UFUNCS,
    UNCERTAIN,
    WAITING,
)

try:
    import cupy as real  # its names and signatures; no device is asked for anything
except ImportError:
    real = None


ATOMIC = ("int32", "uint32", "uint64", "float32", "float64")


@cache
def parameters(name):
    """The parameters of CuPy's function; None where they are not known."""
    try:
        found = inspect.signature(getattr(real, name)).parameters
    except (AttributeError, ValueError, TypeError):
        return None
    return None if any(each.kind is each.VAR_KEYWORD for each in found.values()) else frozenset(found)


def check(name, kwargs):
    """CuPy's function has these parameters too."""
    known = parameters(name)
    wrong = set() if known is None else set(kwargs) - known
    if wrong:
        raise TypeError(f"cupy.{name}() got an unexpected keyword argument {', '.join(sorted(wrong))}")


def function(name, numpys=None, order="C"):
    """CuPy's function `name`, by NumPy's."""
    numpys = numpys or getattr(np, name)

    def run(*args, **kwargs):
        check(name, kwargs)
        if name == "where" and not isinstance(args[0], ndarray):
            raise unsupported(args[0])
        if name in ("cumsum", "cumprod", "repeat", "bincount"):
            certain(name, args, kwargs)
        if name in PRODUCTS and device.capturing is not None:
            raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
        return call(numpys, args, kwargs, "K" if order == "K" and kwargs.get("order", "K") == "K" else order)

    run.__name__ = name
    return run


def certain(name, args, kwargs):
    """Refuse what CuPy computes in no certain order, and count what it must look at."""
    found = [*inputs(args), *inputs(tuple(kwargs.values()))]
    if name == "repeat":
        if any(isinstance(each, ndarray) for each in (*args[1:], kwargs.get("repeats"))):
            device.transfer(name)
        return
    if name == "bincount":
        device.transfer(name)
    assert all(each.dtype.kind != "f" for each in found), f"cupy.{name} of floats differs from run to run on a device"


class ufunc:
    """A ufunc of CuPy's: scalars and device arrays only, results C-contiguous."""

    def __init__(self, name):
        """name: as NumPy's."""
        self.name = self.__name__ = name
        self._numpys = getattr(np, name)
        self.nin, self.nout = self._numpys.nin, self._numpys.nout

    def __call__(self, *args, **kwargs):
        for each in (*args, kwargs.get("out")):
            if each is not None and not isinstance(each, (ndarray, *SCALARS)):
                raise unsupported(each)
        assert set(kwargs) <= {"out", "dtype", "casting"}, f"cupy.{self.name} with {sorted(kwargs)}"
        if len(args) > self.nin:
            args, kwargs = args[: self.nin], kwargs | {"out": args[self.nin]}
        if not any(isinstance(each, ndarray) for each in args):
            raise TypeError(f"cupy.{self.name} of scalars alone")
        with np.errstate(all="ignore"):
            return call(self._numpys, args, kwargs)

    def reduce(self, array, axis=0, dtype=None, out=None, keepdims=False):
        return call(self._numpys.reduce, (array, axis), {"dtype": dtype, "out": out, "keepdims": keepdims})

    def at(self, a, indices, b=None):
        if self.name not in UNCERTAIN:
            raise AttributeError(f"cupy.{self.name}.at")
        if a.dtype.name not in ATOMIC:
            raise TypeError(f"cupy.{self.name}.at of {a.dtype}: CuPy has it of {', '.join(ATOMIC)}")
        order = self.name in ("add", "subtract") and a.dtype.kind == "f"
        assert not order, f"cupy.{self.name}.at of floats differs from run to run on a device: it uses atomics"
        device.do(lambda: self._numpys.at(a._host, host(indices), host(b)))


ufuncs = {name: ufunc(name) for name in UFUNCS}
table = ufuncs | {name: function(name) for name in FUNCTIONS if callable(getattr(np, name))}
table |= {name: function(name, order="K") for name in LIKE}


def listed(function):
    """Put it in the table."""
    table[function.__name__] = function
    return function


def poisoned(name):
    plain = table[name]

    @wraps(plain)
    def empty(*args, **kwargs):
        result = plain(*args, **kwargs)
        result._memory.bytes[...] = 0xFF
        return result

    table[name] = empty


poisoned("empty")
poisoned("empty_like")


def waiting(name):
    plain = function(name)

    @listed
    @wraps(plain)
    def run(*args, **kwargs):
        device.transfer(name)
        return plain(*args, **kwargs)


for _name in (*WAITING, "bincount"):
    waiting(_name)


@listed
def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """Numbers of the host are uploaded; device arrays are copied on the device."""
    if isinstance(obj, ndarray):
        same = dtype is None or obj.dtype == dtype
        if not copy and same and (order in (None, "K", "A") or (order == "C" and obj.flags.c_contiguous)):
            return obj
        return obj.astype(obj.dtype if dtype is None else dtype, order=order or "K")
    if isinstance(obj, (list, tuple)) and any(True for _ in inputs(obj)):
        return call(np.stack, (obj,), {}).astype(obj[0].dtype if dtype is None else dtype, copy=False)
    device.upload("array")
    if order in (None, "K", "A"):  # CuPy knows these two alone, so an upload is not channels-last
        order = "F" if isinstance(obj, np.ndarray) and obj.flags.fnc else "C"
    value = np.array(obj, dtype, order=order, ndmin=ndmin)
    memory, result = fresh(value.shape, value.dtype, value.strides)
    result[...] = value
    return ndarray._of(memory, result)


@listed
def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    return array(a, dtype, copy=bool(copy), order=order or "K")


@listed
def ascontiguousarray(a, dtype=None):
    return array(a, dtype, copy=False, order="C")


@listed
def copy(a, order="K"):
    return a.copy(order)


@listed
def copyto(dst, src, casting="same_kind", where=None):
    if not isinstance(dst, ndarray) or not isinstance(src, (ndarray, *SCALARS)):
        raise unsupported(src)
    mask = True if where is None else where
    device.do(lambda: np.copyto(dst._host, host(src), casting=casting, where=host(mask)))


@listed
def put_along_axis(arr, indices, values, axis):
    def work():
        shape = tuple(n if i == axis % arr.ndim else 1 for i, n in enumerate(arr.shape))
        places = np.zeros(arr.shape, np.int64) + np.arange(arr.shape[axis]).reshape(shape)
        found = np.take_along_axis(places, host(indices), axis)
        assert all(len(set(row)) == len(row) for row in np.moveaxis(found, axis, -1).reshape(-1, found.shape[axis]))
        np.put_along_axis(arr._host, host(indices), host(values), axis)

    device.do(work)


@listed
def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get(order=order, out=out) if isinstance(a, ndarray) else np.asarray(a)


def left_to(y):
    """CuPy leaves an operator to what stands at its right and wants no ufuncs."""
    return not isinstance(y, ndarray) and getattr(y, "__array_ufunc__", 0) is None


def _methods():
    for name, numpys in OPERATORS.items():
        run = table[numpys]
        setattr(ndarray, f"__{name}__", lambda x, y, run=run: NotImplemented if left_to(y) else run(x, y))
        setattr(ndarray, f"__r{name}__", lambda x, y, run=run: run(y, x))
        if name != "matmul":
            setattr(ndarray, f"__i{name}__", lambda x, y, run=run: run(x, y, out=x))
    for name, numpys in COMPARISONS.items():
        setattr(ndarray, f"__{name}__", lambda x, y, run=ufuncs[numpys]: run(x, y))
    for name, numpys in SIGNS.items():
        setattr(ndarray, f"__{name}__", lambda x, run=ufuncs[numpys]: run(x))
    for name in (*METHODS, "nonzero"):
        setattr(ndarray, name, lambda x, *args, run=table[name], **kwargs: run(x, *args, **kwargs))


_methods()
