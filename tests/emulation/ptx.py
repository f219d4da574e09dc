"""A PTX module in Python's own types: entries, registers, variables, instructions. It reads what NVRTC writes."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

SIZES = {"b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "b32": 4, "u32": 4, "s32": 4, "f32": 4}
SIZES |= {"b64": 8, "u64": 8, "s64": 8, "f64": 8, "pred": 1}

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
LABEL = re.compile(r"([A-Za-z_$%][\w$]*)\s*:(?!:)")
NUMBER = re.compile(r"-?(0[xX][0-9a-fA-F]+|0[0-7]+|\d+)U?$")
FLOATING = re.compile(r"0([fFdD])([0-9a-fA-F]{8}(?:[0-9a-fA-F]{8})?)$")
VARIABLE = re.compile(r"([\w$%.]+)\s*(?:<(\d+)>)?((?:\[\d*\])*)\s*(?:=\s*(.*))?$", re.DOTALL)
STATEMENT = re.compile(r"(?:@(!?)([\w$%]+)\s+)?([\w.:]+)\s*(.*)$", re.DOTALL)


class PtxError(Exception):
    """PTX that the emulation does not understand."""


@dataclass(frozen=True)
class Register:
    """A register of an entry, under a name that no other has."""

    name: str
    type: str


@dataclass(frozen=True)
class Constant:
    """A number in the text; floating ones as their bits."""

    bits: int
    floating: bool = False


@dataclass(frozen=True)
class Symbol:
    """The address of a variable."""

    name: str


@dataclass(frozen=True)
class Special:
    """%tid.x and the like."""

    name: str


@dataclass(frozen=True)
class Address:
    """[base + offset]."""

    base: Operand
    offset: int


@dataclass(frozen=True)
class Vector:
    """{a, b, c, d}."""

    items: tuple[Operand, ...]


@dataclass(frozen=True)
class Pair:
    """p|q: two destinations."""

    first: Operand
    second: Operand


@dataclass(frozen=True)
class Not:
    """!p."""

    operand: Operand


@dataclass(frozen=True)
class Sink:
    """_: a result that nobody wants."""


@dataclass(frozen=True)
class Name:
    """A label or a function."""

    name: str


Operand = Register | Constant | Symbol | Special | Address | Vector | Pair | Not | Sink | Name


@dataclass
class Instruction:
    """One instruction: `parts` is its name, cut at the points."""

    parts: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: Register | None
    negated: bool
    text: str
    line: int

    @property
    def name(self) -> str:
        """The whole name."""
        return ".".join(self.parts)


@dataclass
class Variable:
    """A variable in memory of the kind `space`."""

    name: str
    space: str
    kind: str  # of its elements
    size: int
    align: int
    data: bytes | None = None
    references: dict[int, str] = field(default_factory=dict)  # offset: the variable whose address stands there


@dataclass(eq=False)
class Entry:
    """A function: a kernel, or what a kernel calls."""

    name: str
    parameters: list[Variable]
    results: list[Variable] = field(default_factory=list)
    registers: dict[str, Register] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    targets: dict[str, list[str]] = field(default_factory=dict)  # jump tables
    kernel: bool = True


def split(text: str) -> list[str]:
    """Cut at the commas that stand in no bracket."""
    pieces, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        depth += (letter in "{[(") - (letter in "}])")
        if letter == "," and depth == 0:
            pieces.append(text[start:index].strip())
            start = index + 1
    last = text[start:].strip()
    return [*pieces, last] if last else pieces


def integer(text: str) -> int:
    """A whole number as PTX writes it."""
    text = text.rstrip("U")
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
    return sign * int(digits, 8 if octal else 0)


def variable(text: str) -> Variable:
    """A declaration: `.shared .align 4 .b8 name[256] = {..}`."""
    space, align, kind = "", 0, ""
    words = " ".join(text.split())
    while words.startswith("."):
        word, _, words = words.partition(" ")
        words = words.strip()
        if word == ".align":
            number, _, words = words.partition(" ")
            align, words = int(number), words.strip()
        elif word == ".ptr":
            continue
        elif word[1:] in SIZES:
            kind = word[1:]
        elif word in (".global", ".const", ".shared", ".local", ".param", ".reg"):
            space = space or word[1:]
    found = VARIABLE.match(words)
    if not found or not kind:
        raise PtxError(f"no declaration that the emulation knows: {text}")
    name, _, dimensions, initial = found.groups()
    count = 1
    for dimension in re.findall(r"\[(\d*)\]", dimensions):
        count *= int(dimension or 0)
    size = SIZES[kind]
    result = Variable(name, space, kind, count * size, max(align, size))
    if initial is not None:
        result.data = initial_bytes(initial, kind, result)
    return result


def initial_bytes(text: str, kind: str, result: Variable) -> bytes:
    """The bytes of an initialiser, as many as the variable has."""
    data = bytearray()
    for item in text.replace("{", " ").replace("}", " ").split(","):
        item = item.strip()
        floating = FLOATING.match(item)
        if floating:
            data += int(floating[2], 16).to_bytes(SIZES[kind], "little")
        elif NUMBER.match(item):
            data += (integer(item) % (1 << 8 * SIZES[kind])).to_bytes(SIZES[kind], "little")
        else:
            result.references[len(data)] = re.sub(r"generic\((.*)\)", r"\1", item)
            data += bytes(SIZES[kind])
    return bytes(data).ljust(result.size, b"\0")


def number(text: str) -> Constant | None:
    """A constant, if that is what it is."""
    floating = FLOATING.match(text)
    if floating:
        return Constant(int(floating[2], 16), floating=True)
    if NUMBER.match(text):
        return Constant(integer(text))
    try:
        value = float(text)
    except ValueError:
        return None
    return Constant(struct.unpack("<Q", struct.pack("<d", value))[0], floating=True)
