"""Tensors: arrays with gradients, what they compute, and how a differentiable function puts its result on the tape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..kernels.namespace import namespace, on_device
from .device import kept, moved, together, where
from .gradients import borrowed, both, may_write, summed, unbroadcast
from .modes import mode, told
from .tape import Backward, Node, send_back

Array = np.ndarray


class Tensor:
    """An array, and with `requires_grad` a place where its gradient is summed.

    data: any boolean, integer or floating array, NumPy's or CuPy's (kept, not copied); requires_grad: floating data
    only (TypeError). `grad` is None or an array of data's shape, dtype and device; `backward` adds to it, in place, as
    PyTorch does.
    """

    __slots__ = ("__weakref__", "_node", "data", "grad", "requires_grad")
    __array_ufunc__ = None  # array * tensor calls Tensor.__rmul__

    def __init__(self, data: npt.ArrayLike, requires_grad: bool = False) -> None:
        """Wrap an array; TypeError for what are no numbers."""
        self.data: Array = kept(data)
        if self.data.dtype.kind not in "biuf":
            raise TypeError(f"Tensor: data has dtype {self.data.dtype}; numbers are needed")
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(f"Tensor: requires_grad=True needs floating-point data, not {self.data.dtype}")
        self.requires_grad = requires_grad
        self.grad: Array | None = None
        self._node: Node | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The logical shape, N C H W for images, whatever the memory format."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the data."""
        return self.data.dtype

    @property
    def device(self) -> str:
        """Where the data lie: "cpu", or "cuda:0" and the like."""
        return where(self.data)

    def to(self, device: str) -> Tensor:
        """The tensor itself where it lies on `device`, else its copy there: "cpu", "cuda" or "cuda:N". Differentiable.

        Raises ValueError for what is no device, ImportError without CuPy, RuntimeError where no GPU answers.
        """
        data, before = moved(self.data, device), self.device
        return self if data is self.data else record("to", data, (self,), lambda grad: [moved(grad, before)])

    def cpu(self) -> Tensor:
        """`to("cpu")`."""
        return self.to("cpu")

    def numpy(self) -> Array:
        """The data, not a copy; TypeError on a GPU, as in PyTorch: `tensor.cpu().numpy()` copies."""
        return np.asarray(self)

    def detach(self) -> Tensor:
        """The same array (not a copy) outside the graph."""
        return Tensor(self.data)

    def item(self) -> float:
        """The one element as a Python number, from a GPU too; ValueError if there are more."""
        return self.data.item()

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        """What np.asarray gives: the data; TypeError on a GPU, where that would be a copy that nobody asked for."""
        if on_device(self.data):
            raise TypeError(f"Tensor: the data lie on {self.device}; tensor.cpu() or tensor.data.get() copies them")
        return np.array(self.data, dtype=dtype) if copy else np.asarray(self.data, dtype=dtype)

    def __repr__(self) -> str:
        """The data, and where it came from."""
        tail = f", device={self.device!r}" if on_device(self.data) else ""
        tail += f", from={self._node.name}" if self._node else ", requires_grad=True" if self.requires_grad else ""
        return f"{type(self).__name__}({self.data!r}{tail})"

    def backward(self, grad: npt.ArrayLike | Tensor | None = None) -> None:
        """x.grad += (d self / d x)^T grad, for every leaf tensor x with requires_grad that self was computed from.

        grad: the gradient of some scalar with respect to self, of self's shape and dtype; may be left out where self
        has one element (then it is 1). The graph is freed on the way: a second call raises RuntimeError.
        """
        if not self.requires_grad:
            raise RuntimeError("backward: this tensor was not computed, outside no_grad, from any with requires_grad")
        if grad is None and self.size != 1:
            raise RuntimeError(f"backward: grad is needed for shape {self.shape}; only one element has a default (1)")
        start = borrowed(namespace(self.data).ones_like(self.data) if grad is None else _array(grad))
        together("backward", tensor=self.data, grad=start)
        if start.shape != self.shape:
            raise ValueError(f"backward: grad has shape {start.shape}; the tensor has {self.shape}")
        if start.dtype != self.dtype:
            raise TypeError(f"backward: grad has dtype {start.dtype}; the tensor has {self.dtype}")
        if self._node is None:
            self._add_grad(start)
        else:
            mode.ones = start if grad is None else None
            send_back(self._node, start)

    def _add_grad(self, part: Array) -> None:
        if self.grad is not None:
            self.grad = summed(self.grad, part)
        else:
            self.grad = part if may_write(part) else part.copy("K")

    def _operand(self, name: str, other: Any) -> Tensor:
        """`other` as a tensor of this dtype: Python and NumPy scalars are cast, arrays of another dtype refused."""
        if self.dtype.kind == "f" and isinstance(other, (int, float, np.number)):
            other = Tensor(namespace(self.data).full((), other, self.dtype))
        other = as_tensor(other)
        together(name, left=self.data, right=other.data)
        if other.dtype != self.dtype:
            raise TypeError(f"{name}: dtypes {self.dtype} and {other.dtype} differ; convert one of them")
        return other

    def __add__(self, other: Any) -> Tensor:
        """Elementwise sum, broadcast as in NumPy; TypeError for another dtype, scalars are cast."""
        a, b = self, self._operand("add", other)
        shapes = a.shape, b.shape

        def backward(grad: Array) -> Sequence[Array]:
            grad = borrowed(grad)
            return [unbroadcast(grad, shape) for shape in shapes]

        return record("add", both("add", a.data, b.data), (a, b), backward)

    def __sub__(self, other: Any) -> Tensor:
        """Elementwise difference, as for +."""
        return self + -self._operand("sub", other)

    def __mul__(self, other: Any) -> Tensor:
        """Elementwise product, as for +."""
        a, b = self, self._operand("mul", other)
        x, y, needs = a.data, b.data, (a.requires_grad, b.requires_grad)

        def backward(grad: Array) -> Sequence[Array | None]:
            return [
                unbroadcast(both("multiply", grad, y), x.shape) if needs[0] else None,
                unbroadcast(both("multiply", grad, x), y.shape) if needs[1] else None,
            ]

        return record("mul", both("multiply", x, y), (a, b), backward)

    def __neg__(self) -> Tensor:
        """Elementwise -x."""
        return record("neg", -self.data, (self,), lambda grad: [kept(-grad)])

    def __rsub__(self, other: Any) -> Tensor:
        """Elementwise difference, as for +."""
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __truediv__(self, other: float) -> Tensor:
        """Every element times 1 / other, a scalar."""
        return self * (1.0 / other)

    def sum(self) -> Tensor:
        """s = sum of all elements."""
        shape = self.shape
        return record("sum", self.data.sum(), (self,), lambda grad: [namespace(grad).broadcast_to(grad, shape)])

    def mean(self) -> Tensor:
        """m = sum of all elements / their number."""
        return self.sum() * (1.0 / self.size)


def as_tensor(x: Tensor | npt.ArrayLike) -> Tensor:
    """`x` itself if it is a tensor, else a tensor around it."""
    return x if isinstance(x, Tensor) else Tensor(x)


def recording(*inputs: Tensor) -> bool:
    """Whether a function of these inputs goes onto the tape: a gradient is wanted, and this is not `no_grad`."""
    return mode.recording and any(x.requires_grad for x in inputs)


def record(name: str, data: npt.ArrayLike, inputs: Sequence[Tensor], backward: Backward, **details: Any) -> Tensor:
    """The result of a differentiable function as a tensor, put on the tape where `recording(*inputs)`.

    backward(grad) returns one gradient per input, None where that input's `requires_grad` is off. It may overwrite grad
    where `may_write(grad)`, and no array it returns that shares memory with anything but a disjoint part of such a grad
    may be one that may be written. What it needs it should keep as arrays, not tensors: a tensor would keep the graph
    alive. details: what a watcher has to know beside the inputs.
    """
    result = Tensor(data)
    if recording(*inputs):
        result.requires_grad = True
        result._node = Node(name, tuple((x._node or x) if x.requires_grad else None for x in inputs), backward)
    return told(name, {"inputs": inputs, **details}, result)


def _array(x: Any) -> Array:
    return x.data if isinstance(x, Tensor) else kept(x)
