"""Calls: what a kernel calls is put in the place of the call, under names of its own."""

from __future__ import annotations

from dataclasses import replace

from .ptx import Address, Entry, Instruction, Name, Not, Operand, Pair, PtxError, Register, Symbol, Vector


def inline(entry: Entry, functions: dict[str, Entry], callers: tuple[str, ...] = ()) -> Entry:
    """The same function without calls of others of the module."""
    result = replace(entry, registers={**entry.registers}, variables={**entry.variables}, targets={**entry.targets})
    result.code, result.labels = [], {}
    moved = []
    for number, at in enumerate(entry.code):
        moved.append(len(result.code))
        name = next((operand.name for operand in at.operands if isinstance(operand, Name)), "")
        if at.parts[0] != "call" or name not in functions:
            result.code.append(local(at, entry))
            continue
        if name in callers:
            raise PtxError(f"{name} calls itself: the emulation has no stack")
        put(result, inline(functions[name], functions, (*callers, name)), at, f"@{name}.{number}")
    moved.append(len(result.code))
    result.labels |= {label: moved[place] for label, place in entry.labels.items()}
    return result


def local(at: Instruction, entry: Entry) -> Instruction:
    """Parameters of calls lie in memory of the thread's own."""
    used = {operand.base.name for operand in at.operands if isinstance(operand, Address)
            and isinstance(operand.base, Symbol)}  # fmt: skip
    if "param" not in at.parts or not used & entry.variables.keys():
        return at
    return replace(at, parts=tuple("local" if part == "param" else part for part in at.parts))


def put(result: Entry, called: Entry, at: Instruction, suffix: str) -> None:
    """Add the code of what is called, with the caller's variables for its parameters and results."""
    place = next(number for number, operand in enumerate(at.operands) if isinstance(operand, Name))
    taken, given = (
        tuple(item for each in operands if isinstance(each, Vector) for item in each.items)
        for operands in (at.operands[:place], at.operands[place + 1 : place + 2])
    )
    names: dict[str, str] = {}
    for variable, operand in zip((*called.parameters, *called.results), (*given, *taken), strict=True):
        if not isinstance(operand, Symbol):
            raise PtxError(f"line {at.line}: {at.text}")
        names[variable.name] = operand.name
    own = {*called.registers, *called.variables, *called.labels, *called.targets}
    names |= {name: name + suffix for name in own}

    def renamed(operand: Operand) -> Operand:
        if isinstance(operand, Register | Symbol | Name):
            return replace(operand, name=names.get(operand.name, operand.name))
        if isinstance(operand, Address):
            return replace(operand, base=renamed(operand.base))
        if isinstance(operand, Vector):
            return Vector(tuple(map(renamed, operand.items)))
        if isinstance(operand, Pair):
            return Pair(renamed(operand.first), renamed(operand.second))
        return Not(renamed(operand.operand)) if isinstance(operand, Not) else operand

    result.registers |= {names[name]: replace(each, name=names[name]) for name, each in called.registers.items()}
    result.variables |= {names[name]: replace(each, name=names[name]) for name, each in called.variables.items()}
    result.targets |= {names[name]: [names[each] for each in called.targets[name]] for name in called.targets}
    start, end = len(result.code), "end" + suffix
    for each in called.code:
        guard = replace(each.guard, name=names[each.guard.name]) if each.guard else None
        copy = replace(each, guard=guard, operands=tuple(map(renamed, each.operands)))
        if each.parts[0] == "ret":
            copy = replace(copy, parts=("bra",), operands=(Name(end),))
        result.code.append(local(copy, result))
    result.labels |= {names[name]: start + place for name, place in called.labels.items()}
    result.labels[end] = len(result.code)
