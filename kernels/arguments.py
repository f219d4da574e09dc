"""What the operators accept: every check of an argument, and the one sentence a wrong one is answered with."""

import operator
from collections.abc import Sequence
from math import inf, isfinite, prod
from numbers import Real
from typing import Any, NoReturn

import numpy as np

from .case import Output
from .layout import Array, Shape, format_of
from .namespace import aligned, host, is_array, namespace, on_device, readable
from .window import Pair, Sides

LIMIT = 2**31  # kernels count pixels, channels and windows in 64 bits, but nothing real reaches this

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Arguments:
    """The checks for one operator, whose name begins every message."""

    def __init__(self, name: str) -> None:
        """name: the public function's."""
        self.name = name
        self.unbatched: bool | None = None  # whether the maps came without the axis of images; None before the first
        self.kind: str | None = None  # whose arrays these are, NumPy's or CuPy's; None before the first
        self.gpu: int | None = None  # the GPU where they lie

    def fail(self, message: str, error: type[Exception] = ValueError) -> NoReturn:
        """Raise `error` with the operator's name before `message`."""
        raise error(f"{self.name}: {message}")

    # numbers

    def integer(self, name: str, value: Any, minimum: int, maximum: int = LIMIT - 1) -> int:
        """A Python int from anything that is one (bool is not)."""
        if isinstance(value, (bool, np.bool_)):
            self.fail(f"{name} must be an integer, got {value!r}", TypeError)
        try:
            number = operator.index(value)
        except TypeError:
            self.fail(f"{name} must be an integer, got {_describe(value)}", TypeError)
        if not minimum <= number <= maximum:
            allowed = f"at least {minimum}" if number < minimum else f"at most {maximum}"
            self.fail(f"{name} must be {allowed}, got {number}")
        return number

    def real(self, name: str, value: Any, minimum: float = -inf, maximum: float = inf) -> float:
        """A finite Python float from any real number (bool is not)."""
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
            self.fail(f"{name} must be a number, got {_describe(value)}", TypeError)
        try:
            number = float(value)
        except OverflowError:  # an integer larger than any float
            number = inf
        if not isfinite(number):
            self.fail(f"{name} must be finite, got {value!r}")
        if not minimum <= number <= maximum:
            allowed = f"at least {minimum}" if number < minimum else f"at most {maximum}"
            self.fail(f"{name} must be {allowed}, got {value!r}")
        return number

    def pair(self, name: str, value: Any, minimum: int) -> Pair:
        """(rows, columns) from an integer or a pair of them."""
        if isinstance(value, (tuple, list)):
            if len(value) != 2:
                self.fail(f"{name} must be an integer or a pair, got {value!r}")
            return self.integer(f"{name}[0]", value[0], minimum), self.integer(f"{name}[1]", value[1], minimum)
        if isinstance(value, (str, float)) or value is None or getattr(value, "ndim", 0) > 0:
            self.fail(f"{name} must be an integer or a pair, got {_describe(value)}", TypeError)
        number = self.integer(name, value, minimum)
        return number, number

    def sides(self, name: str, value: Any) -> Sides:
        """((top, bottom), (left, right)) from an integer, a pair, or a pair of pairs."""
        if isinstance(value, (tuple, list)) and len(value) == 2 and any(isinstance(v, (tuple, list)) for v in value):
            return self.pair(f"{name}[0]", value[0], 0), self.pair(f"{name}[1]", value[1], 0)
        rows, columns = self.pair(name, value, 0)
        return (rows, rows), (columns, columns)

    def choice(self, name: str, value: Any, allowed: Sequence[Any]) -> Any:
        """One of `allowed`."""
        if not isinstance(value, (str, type(None))) or value not in allowed:
            self.fail(f"{name} must be one of {', '.join(map(repr, allowed))}, got {_describe(value)}")
        return value

    def flag(self, name: str, value: Any) -> bool:
        """True or False."""
        if not isinstance(value, (bool, np.bool_)):
            self.fail(f"{name} must be True or False, got {_describe(value)}", TypeError)
        return bool(value)

    # arrays

    def array(self, name: str, value: Any, axes: str, dtype: np.dtype | None = None) -> Array:
        """A float32 or float64 array with the axes named by the letters of `axes`; of `dtype` where that is given.

        axes "...": any.
        """
        self._of_one_kind(name, value, "array")
        if value.dtype not in FLOATS or not value.dtype.isnative:
            self.fail(f"{name} must be float32 or float64 in native byte order, got {value.dtype.str}", TypeError)
        if value.ndim != len(axes) and axes != "...":
            self.fail(f"{name} must have the {len(axes)} axes {axes}, got shape {value.shape}")
        if dtype is not None and value.dtype != dtype:
            self.fail(f"{name} must be {dtype} like the first array, got {value.dtype}", TypeError)
        self._limited(name, value)
        return value if aligned(value) else value.copy(order="K")

    def _of_one_kind(self, name: str, value: Any, what: str) -> None:
        """`value` must be an array of the library that the first array came from."""
        if is_array(value):
            kind = "CuPy" if on_device(value) else "NumPy"
            self.kind = self.kind or kind
            if self.kind != kind:
                self.fail(f"{name} must be a {self.kind} array like the first array, got a {kind} array", TypeError)
            if kind == "CuPy":
                gpu = value.device.id  # type: ignore[attr-defined]
                self.gpu = gpu if self.gpu is None else self.gpu
                if self.gpu != gpu:
                    self.fail(f"{name} must be on GPU {self.gpu} like the first array, got one on GPU {gpu}", TypeError)
        else:
            self.fail(f"{name} must be a {self.kind or 'NumPy'} {what}, got {_describe(value)}", TypeError)

    def _limited(self, name: str, value: Array) -> None:
        if max(value.shape, default=0) >= LIMIT:
            self.fail(f"{name} must have fewer than 2**31 entries on each axis, got shape {value.shape}")

    def map(self, name: str, value: Any, axes: str, dtype: np.dtype | None = None) -> Array:
        """As `array`, for maps that may also come as one image, without the first axis, all or none of them.

        The result has that axis; give the results their shape by `output`.
        """
        ndim = value.ndim if is_array(value) else len(axes)
        array = self.array(name, value, self._axes(name, axes, ndim, f"shape {getattr(value, 'shape', None)}"), dtype)
        return array[np.newaxis] if self.unbatched else array

    def map_shape(self, name: str, value: Any, axes: str) -> Shape:
        """As `shape_of`, for the shape of a map that may also be that of one image."""
        ndim = len(value) if isinstance(value, (tuple, list)) else len(axes)
        shape = self.shape_of(name, value, self._axes(name, axes, ndim, f"{value!r}"))
        return (1, *shape) if self.unbatched else shape

    def _axes(self, name: str, axes: str, ndim: int, got: str) -> str:
        unbatched = ndim == len(axes) - 1
        if self.unbatched is None and (unbatched or ndim == len(axes)):
            self.unbatched = unbatched
        elif self.unbatched is None:
            self.fail(f"{name} must have the {len(axes)} axes {axes} or, for one image, {axes[1:]}, got {got}")
        return axes[1:] if self.unbatched else axes

    def per_class(self, name: str, value: Any, letter: str = "K") -> Array:
        """(N, K) or (N, K, ...) numbers as a map (N, K, H, W)."""
        array = self.array(name, value, "...")
        if array.ndim < 2:
            self.fail(f"{name} must have the axes N{letter} or N{letter}HW, got shape {array.shape}")
        n, k, *size = array.shape
        return array if array.ndim == 4 else array.reshape(n, k, prod(size[:-1]), size[-1] if size else 1)

    def seen(self, shape: Shape) -> Shape:
        """The shape of a map as the caller sees it."""
        return shape[1:] if self.unbatched else shape

    def map_fits(self, name: str, value: Array, expected: Shape) -> None:
        """`value`, a map, must have exactly the shape `expected`."""
        if value.shape != expected:
            self.fail(f"{name} must have shape {self.seen(expected)}, got {self.seen(value.shape)}")

    def elementwise(self, like: str, **values: Any) -> tuple[tuple[Array, ...], Output, tuple[int, ...]]:
        """Arrays of one shape, any shape, for an operator that looks at one number at a time.

        Returns what the kernel gets, its output, and which arguments are maps. Where memory is C-contiguous a kernel
        sees one long row. like: the array whose format the output has.
        """
        format = "channels_last"
        arrays: list[Array] = []
        for name, value in values.items():
            arrays.append(self.array(name, value, "...", arrays[0].dtype if arrays else None))
            self.shape(name, arrays[-1], arrays[0].shape)
            format = format_of(arrays[-1]) if name == like and arrays[0].ndim == 4 else format
        shape, dtype = arrays[0].shape, arrays[0].dtype
        if len(shape) == 4 and not all(each.flags.c_contiguous for each in arrays):
            return tuple(arrays), Output(shape, dtype, format), tuple(range(len(arrays)))
        rows = tuple(namespace(each).ascontiguousarray(each).reshape(1, 1, 1, -1) for each in arrays)
        return rows, Output(rows[0].shape, dtype, final=shape), ()

    def output(self, shape: Shape, dtype: np.dtype, format: str = "channels_last") -> Output:
        """The output of `shape` with the axis of images, which the caller sees if the maps came with it."""
        return Output(shape, dtype, format, shape[1:] if self.unbatched else None)

    def dtype(self, name: str, value: Any) -> np.dtype:
        """float32 or float64."""
        if value is None or value not in FLOATS:
            self.fail(f"{name} must be float32 or float64, got {value!r}", TypeError)
        return np.dtype(value)

    def integers(self, name: str, value: Any, shape: Shape) -> Array:
        """An array of integers of exactly `shape`, without the axis of images where the maps came without it."""
        self._of_one_kind(name, value, "array of integers")
        if value.dtype.kind not in "iu":
            self.fail(f"{name} must be integers, got {value.dtype}", TypeError)
        self.shape(name, value, self.seen(shape))
        self._limited(name, value)
        value = value[np.newaxis] if self.unbatched else value
        return value if aligned(value) else value.copy(order="K")

    def finite(self, name: str, value: Array) -> None:
        """Every number of `value` must be finite; what cannot be looked at is taken as it is."""
        finite = namespace(value).isfinite(value)
        if readable(value) and not finite.all():
            self.fail(f"{name} must be finite, got {host(value[~finite])[0]}")

    def shape(self, name: str, value: Array, expected: Shape) -> None:
        """`value` must have exactly the shape `expected`."""
        if value.shape != expected:
            self.fail(f"{name} must have shape {expected}, got {value.shape}")

    def shape_of(self, name: str, value: Any, axes: str) -> Shape:
        """A shape given as a sequence of ints, one for each letter of `axes`."""
        if not isinstance(value, (tuple, list)):
            self.fail(f"{name} must be a shape with the axes {axes}, got {_describe(value)}", TypeError)
        if len(value) != len(axes):
            self.fail(f"{name} must have the {len(axes)} axes {axes}, got {tuple(value)!r}")
        return tuple(self.integer(f"{name}[{axis}]", length, 0) for axis, length in enumerate(value))

    def bias(self, bias: Any, filters: int, x: Array) -> Array | None:
        """One number for each filter, or None."""
        if bias is None:
            return None
        bias = self.array("bias", bias, "C", x.dtype)
        self.shape("bias", bias, (filters,))
        return bias


def _describe(value: Any) -> str:
    return f"{value!r}" if isinstance(value, (int, float, str, type(None))) else type(value).__name__
