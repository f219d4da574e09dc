"""Calls like an earlier one: with the same shapes, strides and options come the same case, variant and plan.

To check the arguments and to choose takes 12 microseconds, as long as a small layer; to remember takes 3.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .case import Case
from .cpu import machine
from .namespace import is_array, on_device
from .packed import Packed
from .precision import get_precision

MOST = 1024  # calls that an operator remembers; after them it starts afresh

VECTOR = 16  # bytes that a thread of a GPU moves at once, where they begin at a multiple of that

EXACT = (int, str, bool, type(None))  # not what is merely equal: 1 is an integer, True is not


def likeness(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    """What two calls have in common that differ in the numbers of their arrays alone; None where it is not known."""
    parts: list[Hashable] = [machine.vectors().name, get_precision(), len(args), *kwargs]
    for value in (*args, *kwargs.values()):
        kind = type(value)
        if kind is np.ndarray or kind is Packed:
            flags = value.flags
            forms = kind is Packed and value.forms is not None
            parts.append((value.shape, value.strides, value.dtype, flags.aligned, flags.writeable, forms))
        elif kind in EXACT:
            parts.append((kind, value))
        elif kind is tuple and all(type(each) is int for each in value):
            parts.append(value)
        elif on_device(value):
            parts.append((value.shape, value.strides, value.dtype, value.device.id, value.data.ptr % VECTOR))
        else:
            return None
    return tuple(parts)


@dataclass
class Known:
    """A case without its arrays.

    sources: for each of its arguments that is an array, its number among the call's arguments. out: that of `out`.
    again: how to compute it in new arrays, (outputs, *arguments), where its variant has said so (`op.Variant`).
    """

    case: Case
    variant: Any
    sources: tuple[tuple[int, int], ...]
    out: int | None
    again: Callable[..., None] | None = None

    def renewed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Case:
        """The case of a call like this one."""
        values = (*args, *kwargs.values())
        arguments = list(self.case.arguments)
        for position, source in self.sources:
            arguments[position] = values[source]
        case = object.__new__(Case)  # a third of the time that its constructor takes
        case.__dict__.update(
            self.case.__dict__, arguments=tuple(arguments), out=None if self.out is None else values[self.out]
        )
        return case


def known(case: Case, variant: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Known | None:
    """What to remember of a call; None where its case has other arrays than it, or it has one of them twice."""
    given = [(number, each) for number, each in enumerate((*args, *kwargs.values())) if is_array(each)]
    places = {id(each): number for number, each in given}
    held = [position for position, each in enumerate(case.arguments) if is_array(each)]
    wanted = [case.arguments[position] for position in held] + ([] if case.out is None else [case.out])
    if len(places) < len(given) or case.answer is not None or any(id(each) not in places for each in wanted):
        return None
    sources = tuple((position, places[id(case.arguments[position])]) for position in held)
    out = None if case.out is None else places[id(case.out)]
    bare = tuple(None if is_array(each) else each for each in case.arguments)
    return Known(replace(case, arguments=bare, out=None), variant, sources, out)
