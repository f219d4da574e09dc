"""Calling NumPy's functions on the double's arrays."""

import numpy as np

from emulation.device import device, fresh

SCALARS = (bool, int, float, complex, np.generic)


def unsupported(value):
    return TypeError(f"Unsupported type {type(value)}")


class Wrapped:
    """A NumPy array in the device's memory. (The class of arrays inherits it.)"""

    kind = None  # that class

    def __init_subclass__(cls):
        Wrapped.kind = cls

    @classmethod
    def _of(cls, memory, host, base=None):
        self = cls.__new__(cls)
        self._memory, self._host, self.base = memory, host, base
        return self

    def _view(self, host):
        return self._of(self._memory, host, self if self.base is None else self.base)


def host(value):
    """What NumPy takes instead: device arrays become the arrays they wrap, NumPy's are refused."""
    if isinstance(value, Wrapped):
        return value._host
    if isinstance(value, np.ndarray):
        raise unsupported(value)
    if isinstance(value, (tuple, list)):
        return type(value)(map(host, value))
    if isinstance(value, dict):
        return {name: host(each) for name, each in value.items()}
    return value


def inputs(value):
    """The device arrays in arguments."""
    if isinstance(value, Wrapped):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from inputs(each)


def call(function, args, kwargs, order="C"):
    """A NumPy function on device arrays. Its results are views of them, or C-contiguous; order: "K", as NumPy's."""
    if kwargs.get("out") is not None:
        out, taken, options = kwargs["out"], host(args), host(kwargs)
        if not isinstance(out, Wrapped):
            raise unsupported(out)
        device.do(lambda: function(*taken, **options))
        return out
    given, taken, options = [*inputs(args), *inputs(tuple(kwargs.values()))], host(args), host(kwargs)
    copies = []

    def wrapped(value, place):
        if isinstance(value, (tuple, list)):
            return type(value)(wrapped(each, (*place, i)) for i, each in enumerate(value))
        if not isinstance(value, (np.ndarray, np.generic)):
            return value
        value = np.asarray(value)
        for each in given:
            if np.may_share_memory(value, each._host):
                return each if value is each._host else each._view(value)
        strides = None if order == "C" else np.empty_like(value).strides if order == "K" else value.strides
        memory, copy = fresh(value.shape, value.dtype, strides)
        if device.capturing is None:
            copy[...] = value
        copies.append((copy, place))
        return Wrapped.kind._of(memory, copy)

    result = wrapped(function(*taken, **options), ())
    wrapped = None  # it refers to itself, and to the arrays: they are to go when CuPy's do
    if copies and device.capturing is not None:

        def again():
            values = function(*taken, **options)
            for copy, place in copies:
                value = values
                for i in place:
                    value = value[i]
                copy[...] = value

        device.capturing.append(again)
    return result
