"""What a kernel takes of a multiprocessor, as ptxas reports it of machine code; NVRTC has ptxas inside."""

import ctypes
import re
from dataclasses import dataclass
from functools import cache

from emulation.nvrtc import CompileError, _check, _text, library

REGISTERS = 65536  # of a multiprocessor, on sm_80 and sm_90
REPORT = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '\w+'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?:[^\n]*?(?P<shared>\d+) bytes smem)?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Resources:
    """Of one kernel. registers: of a thread. stack, spilled, shared: bytes; spilled ones are written or read."""

    registers: int
    stack: int
    spilled: int
    shared: int


@cache
def resources(code, options, arch):
    """Compile CUDA C++ to machine code: the resources of each of its kernels by name."""
    nvrtc, program = library(), ctypes.c_void_p()
    options = [option.encode() for option in (f"--gpu-architecture={arch}", "--ptxas-options=-v", *options)]
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None))
    try:
        status = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        log = _text(program, "ProgramLog")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if status:
        raise CompileError(log)
    found = {}
    for each in REPORT.finditer(log):
        numbers = {name: int(value or 0) for name, value in each.groupdict().items() if name != "name"}
        spilled = numbers["stores"] + numbers["loads"]
        found[each["name"]] = Resources(numbers["registers"], numbers["stack"], spilled, numbers["shared"])
    return found
