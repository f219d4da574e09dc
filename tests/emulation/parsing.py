"""Reading the text of a PTX module."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from .calls import inline
from .ptx import (
    COMMENT,
    LABEL,
    SIZES,
    STATEMENT,
    VARIABLE,
    Address,
    Entry,
    Instruction,
    Name,
    Not,
    Operand,
    Pair,
    PtxError,
    Register,
    Sink,
    Special,
    Symbol,
    Variable,
    Vector,
    integer,
    number,
    split,
    variable,
)

HEAD = re.compile(r"^\s*((?:\.(?:visible|extern|weak|common)\s+)*)\.(entry|func)\b", re.MULTILINE)
OUTER = re.compile(r"^\s*((?:\.(?:visible|extern|weak|common)\s+)*\.(?:global|const|shared)\b[^;]*);", re.MULTILINE)
SIGNATURE = re.compile(r"\s*(?:\(([^)]*)\))?\s*([\w$]+)\s*(?:\(([^)]*)\))?", re.DOTALL)
OFFSET = re.compile(r"(.*?)\s*\+\s*(-?\w+)$")
SKIPPED = (".loc ", ".loc\t", ".file", ".pragma", ".callprototype")


def statements(text: str, line: int) -> Iterator[tuple[str, int]]:
    """The statements of a body, labels (`name:`), and braces that open and close scopes."""
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            line += text[at] == "\n"
            at += 1
        if at >= len(text):
            return
        if text[at] in "{};":
            if text[at] != ";":
                yield text[at], line
            at += 1
            continue
        label = LABEL.match(text, at)
        if label:
            yield label[0].replace(" ", ""), line
            at = label.end()
            continue
        end = text.index("\n" if text.startswith((".loc ", ".loc\t", ".file"), at) else ";", at)
        yield text[at:end].strip(), line
        line += text.count("\n", at, end)
        at = end + (text[end] == ";")


def matching(text: str, start: int) -> int:
    """Where the brace that opens at start closes."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            return index
    raise PtxError("a brace is never closed")


class Module:
    """What a PTX text declares."""

    def __init__(self, text: str) -> None:
        """Text: what NVRTC wrote."""
        text = COMMENT.sub(lambda found: "\n" * found[0].count("\n") or " ", text)
        self.variables: dict[str, Variable] = {}
        self.entries: dict[str, Entry] = {}
        outside, at = [], 0
        for head in HEAD.finditer(text):
            if head.start() < at:
                continue
            signature = SIGNATURE.match(text, head.end())
            if signature is None:
                raise PtxError(f"no signature: {text[head.start() : head.end() + 80]}")
            brace, semicolon = text.find("{", signature.end()), text.find(";", signature.end())
            outside.append(text[at : head.start()])
            if brace < 0 or 0 <= semicolon < brace:
                at = semicolon + 1  # declared only
                continue
            at = matching(text, brace) + 1
            entry = Entry(
                signature[2],
                [variable(item) for item in split(signature[3] or "")],
                [variable(item) for item in split(signature[1] or "")],
                kernel=head[2] == "entry",
            )
            Body(self, entry).read(text[brace + 1 : at - 1], text.count("\n", 0, brace) + 1)
            self.entries[entry.name] = entry
        outside.append(text[at:])
        kernels = {name: inline(entry, self.entries) for name, entry in self.entries.items() if entry.kernel}
        self.entries |= kernels
        for found in OUTER.finditer("\n".join(outside)):
            declared = variable(re.sub(r"\.(visible|extern|weak|common)\s+", "", found[1]))
            self.variables[declared.name] = declared


class Body:
    """The body of one function while it is read: names are made unique as scopes open and close."""

    def __init__(self, module: Module, entry: Entry) -> None:
        """Entry: what is filled."""
        self.module, self.entry = module, entry
        self.scopes: list[dict[str, str]] = [{}]
        self.opened = 0

    def read(self, text: str, line: int) -> None:
        """Read all statements."""
        entry, label = self.entry, ""
        for statement, at in statements(text, line):
            if statement == "{":
                self.opened += 1
                self.scopes.append({})
            elif statement == "}":
                self.scopes.pop()
            elif LABEL.fullmatch(statement):
                label = statement[:-1]
                entry.labels[label] = len(entry.code)
            elif statement.startswith(".branchtargets"):
                entry.targets[label] = split(statement.removeprefix(".branchtargets"))
            elif statement.startswith(".reg"):
                self.registers(statement)
            elif statement.startswith((".shared", ".local", ".param", ".const", ".global")):
                self.declare(variable(statement))
            elif not statement.startswith(SKIPPED):
                entry.code.append(self.instruction(statement, at))

    def declare(self, declared: Variable) -> None:
        """A variable of this function, or of a scope in it."""
        unique = declared.name if len(self.scopes) == 1 else f"{declared.name}@{self.opened}"
        self.scopes[-1][declared.name] = unique
        self.entry.variables[unique] = replace(declared, name=unique)

    def registers(self, statement: str) -> None:
        """`.reg .b32 %r<142>, t;`."""
        _, kind, names = statement.split(None, 2)
        if kind[1:] not in SIZES:
            raise PtxError(f"no kind of register that the emulation knows: {statement}")
        for name in split(names):
            found = VARIABLE.match(name)
            if found is None:
                raise PtxError(f"no register: {statement}")
            prefix, count = found[1], found[2]
            for one in [prefix] if count is None else [f"{prefix}{index}" for index in range(int(count))]:
                unique = one if len(self.scopes) == 1 else f"{one}@{self.opened}"
                self.scopes[-1][one] = unique
                self.entry.registers[unique] = Register(unique, kind[1:])

    def instruction(self, statement: str, line: int) -> Instruction:
        """One instruction with its operands."""
        found = STATEMENT.match(statement)
        if found is None:
            raise PtxError(f"line {line}: {statement}")
        negated, guard, name, rest = found.groups()
        parts = tuple(name.split("."))
        labels = parts[0] in ("bra", "brx", "call")
        operands = tuple(self.operand(item, labels) for item in split(rest))
        register = self.operand(guard) if guard else None
        if register is not None and not isinstance(register, Register):
            raise PtxError(f"line {line}: {statement}")
        return Instruction(parts, operands, register, bool(negated), " ".join(statement.split()), line)

    def operand(self, text: str, labels: bool = False) -> Operand:
        """One operand."""
        text = text.strip()
        if text.startswith("{"):
            return Vector(tuple(self.operand(item) for item in split(text[1:-1])))
        if text.startswith("("):
            return Vector(tuple(self.operand(item) for item in split(text[1:-1])))
        if text.startswith("["):
            found = OFFSET.match(text[1:-1].strip())
            base, offset = (found[1], integer(found[2])) if found else (text[1:-1], 0)
            return Address(self.operand(base), offset)
        if text.startswith("!"):
            return Not(self.operand(text[1:]))
        if text == "_":
            return Sink()
        if "|" in text:
            first, second = text.split("|")
            return Pair(self.operand(first), self.operand(second))
        for scope in reversed(self.scopes):
            if text in scope:
                unique = scope[text]
                return self.entry.registers[unique] if unique in self.entry.registers else Symbol(unique)
        constant = number(text)
        if constant is not None:
            return constant
        if text.startswith("%"):
            return Special(text)
        return Name(text) if labels else Symbol(text)
