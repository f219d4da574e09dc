"""Modules: objects that own parameters and other modules, named by the attributes that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..kernels.arguments import FLOATS
from ..kernels.namespace import host
from .device import assign, is_device, kept, moved
from .parameter import Parameter
from .tensor import Array


class Differences(NamedTuple):
    """What `load_state_dict(strict=False)` passed over: names the model has and the state lacks, and the reverse."""

    missing: list[str]
    unexpected: list[str]


class Module:
    """A function with parameters. Subclasses set parameters and modules as attributes and define `forward`.

    Names are PyTorch's: "enc.0.2.weight" is attribute enc, its module 0, its module 2, its parameter weight. An
    attribute set to None (a layer without bias) has no name.
    """

    training: bool = True
    optional: tuple[str, ...] = ()  # buffers that a state may lack: `load_state_dict` then leaves them
    config: dict[str, Any] | None = None  # constructor arguments, JSON-able: what `save` writes and `load` builds from

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself; every subclass has its own."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`."""
        return self.forward(*args, **kwargs)

    # what it owns

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one, in the order in which they were set."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all inside it, with dotted names."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter, under the first of its names where it is shared."""
        seen = set()
        for name, owner, key in self._places():
            value = getattr(owner, key)
            if isinstance(value, Parameter) and value not in seen:
                seen.add(value)
                yield name, value

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once: what an optimiser takes."""
        return (parameter for _, parameter in self.named_parameters())

    def register_buffer(self, name: str, value: npt.ArrayLike) -> None:
        """Set an attribute to an array that is part of the state but is not trained (running means, say)."""
        setattr(self, name, kept(value))
        self._buffers = (*getattr(self, "_buffers", ()), name)

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """Every buffer."""
        for name, owner, key in self._places():
            if not isinstance(value := getattr(owner, key), Parameter):
                yield name, value

    def buffers(self) -> Iterator[Array]:
        """Every buffer."""
        return (buffer for _, buffer in self.named_buffers())

    def _places(self) -> Iterator[tuple[str, Module, str]]:
        """(full name, owner, attribute) of every parameter and buffer, in PyTorch's order."""
        for prefix, owner in self.named_modules():
            keys = [key for key, value in vars(owner).items() if isinstance(value, Parameter)]
            for key in (*keys, *getattr(owner, "_buffers", ())):
                yield (f"{prefix}.{key}" if prefix else key), owner, key

    # its state

    def state_dict(self) -> dict[str, Array]:
        """Name -> array of every parameter and buffer: contiguous copies, which further training leaves alone.

        They are NumPy arrays, copied from the GPU where the model is on one: what files and other programs take.
        """
        return {name: np.array(host(_data(getattr(owner, key))), order="C") for name, owner, key in self._places()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Differences:
        """Copy arrays (or PyTorch's CPU tensors) into the parameters and buffers of the same names, casting floats.

        Arrays may be NumPy's or CuPy's, wherever the model is.

        Nothing is changed unless everything fits: one ValueError names every missing and unexpected name (these two
        only if strict) and every array of the wrong shape or kind. A batch normalisation's num_batches_tracked, which
        counts only where momentum is None, may be missing, as in PyTorch's older files: then it is left alone.
        """
        return self._load(state, strict, str)

    def _load(self, state: Mapping[str, Any], strict: bool, renamed: Callable[[str], str]) -> Differences:
        """`load_state_dict` of a state in which what has a name here is `renamed`."""
        places = [(renamed(name), owner, key) for name, owner, key in self._places()]
        targets = {name: _data(getattr(owner, key)) for name, owner, key in places}
        values = {name: kept(value) for name, value in state.items() if name in targets}
        needed = [name for name, owner, key in places if key not in owner.optional]
        differences = Differences([n for n in needed if n not in state], [n for n in state if n not in targets])
        faults = []
        if strict:
            faults += [f"missing: {', '.join(differences.missing)}"] if differences.missing else []
            faults += [f"unexpected: {', '.join(differences.unexpected)}"] if differences.unexpected else []
        for name, value in values.items():
            target = targets[name]
            if value.shape != target.shape:
                faults.append(f"{name} has shape {value.shape}, the model {target.shape}")
            elif not np.can_cast(value.dtype, target.dtype, "same_kind"):
                faults.append(f"{name} is {value.dtype}, the model {target.dtype}")
        if faults:
            raise ValueError(f"load_state_dict: the state does not fit {type(self).__name__}: {'; '.join(faults)}")
        for name, value in values.items():
            assign(targets[name], value)
        return differences

    def to(self, target: npt.DTypeLike) -> Self:
        """Convert to float32 or float64, or move to a device: "cpu", "cuda" or "cuda:N"; in this object.

        Parameters stay the same objects, with other data and without gradients; so an optimiser may be made before or
        after: its state follows at its next step. A dtype is for floating parameters and buffers, a device for all. On
        a GPU parameters and buffers are CuPy arrays, and so must be what the model is given; on a GPU other than CuPy's
        current one work within `with cupy.cuda.Device(N)`.

        Raises TypeError or ValueError for what is neither; for a GPU ImportError where CuPy is missing (`pip install
        'upconv[cuda12]'` or `'upconv[cuda13]'`), and RuntimeError where none answers.
        """
        if is_device(target):
            return self._changed(lambda array: moved(array, str(target)))
        if target is None or target not in FLOATS:
            raise TypeError(f'to: target is {target!r}; float32, float64, "cpu", "cuda" or "cuda:N" is needed')
        return self._changed(lambda array: array.astype(target, copy=False) if array.dtype.kind == "f" else array)

    def _changed(self, change: Callable[[Array], Array]) -> Self:
        """With every parameter and buffer changed, in this object; gradients are dropped."""
        for _, owner, key in self._places():
            value = getattr(owner, key)
            if isinstance(value, Parameter):
                value.data, value.grad = change(value.data), None
            else:
                setattr(owner, key, change(value))
        return self

    # its mode

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and in every module inside."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """The same as train(False)."""
        return self.train(False)

    def freeze(self, pattern: str = "*") -> Self:
        """Stop the gradients of the parameters named `pattern`, so that optimisers leave them as they are.

        pattern: the name of a parameter or of a module, all of whose parameters are then meant, with * and ? as in
        file names: "enc", "enc.0.*", "*.bias". A parameter shared under several names is meant by any of them. The
        running statistics of a batch normalisation are no parameters: in training mode they still move. Which
        parameters are frozen is not part of the state.
        Raises ValueError where no parameter has such a name.
        """
        for parameter in self._named("freeze", pattern):
            parameter.requires_grad, parameter.grad = False, None
        return self

    def unfreeze(self, pattern: str = "*") -> Self:
        """Undo `freeze` for the parameters named `pattern`; ValueError where there is none."""
        for parameter in self._named("unfreeze", pattern):
            parameter.requires_grad = True
        return self

    def _named(self, what: str, pattern: str) -> list[Parameter]:
        every = [(name, getattr(owner, key)) for name, owner, key in self._places()]
        named = [(name, value) for name, value in every if isinstance(value, Parameter)]
        found = [value for name, value in named if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
        if not found:
            names = ", ".join([name for name, _ in named[:3]] + ["..."] * (len(named) > 3))
            raise ValueError(f"{what}: no parameter of {type(self).__name__} is named {pattern!r}; names are {names}")
        return found

    def zero_grad(self) -> None:
        """Forget every gradient (set it to None)."""
        for parameter in self.parameters():
            parameter.grad = None

    def describe(self) -> str:
        """The arguments shown in repr."""
        return ""

    def __repr__(self) -> str:
        """The class, its arguments, and the modules inside, indented."""
        lines = [f"  ({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        inside = "\n" + "\n".join(lines) + "\n" if lines else ""
        return f"{type(self).__name__}({self.describe()}{inside})"


class ModuleList(Module):
    """Modules by number: registers them under "0", "1", ..."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        """Take them in order; TypeError for anything that is no module."""
        self._items = list(modules)
        for item in self._items:
            if not isinstance(item, Module):
                raise TypeError(f"{type(self).__name__}: modules are needed, got {type(item).__name__}")

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """("0", first), ("1", second), ..."""
        return ((str(i), module) for i, module in enumerate(self._items))

    def append(self, module: Module) -> Self:
        """Add one at the end."""
        ModuleList([module])  # same check
        self._items.append(module)
        return self

    def __getitem__(self, index: int) -> Module:
        """The module with that number; negative ones count from the end."""
        return self._items[index]

    def __iter__(self) -> Iterator[Module]:
        """In order."""
        return iter(self._items)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._items)


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Within it `model` and all inside are in evaluation mode; then as they were."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _data(value: Parameter | Array) -> Array:
    return value.data if isinstance(value, Parameter) else value
