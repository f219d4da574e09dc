"""CUDA C++ to PTX by NVRTC, which needs no GPU; what was compiled once is kept."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


class CompileError(Exception):
    """NVRTC refused a source; the message is its log."""


@cache
def library() -> ctypes.CDLL:
    """NVRTC from the wheel nvidia-cuda-nvrtc, or from the system."""
    found = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in (found.submodule_search_locations or ())] if found else []
    paths = [str(path) for folder in folders for path in sorted(folder.glob("*/lib/libnvrtc.so.*"))]
    for path in (*paths, "libnvrtc.so.13", "libnvrtc.so.12"):
        try:
            for part in Path(path).parent.glob("libnvrtc-builtins.so.*") if path in paths else ():
                ctypes.CDLL(str(part))  # which the wheel of CUDA 13.0 does not find beside itself
            loaded = ctypes.CDLL(path)
        except OSError:
            continue
        loaded.nvrtcGetErrorString.restype = ctypes.c_char_p
        return loaded
    raise FileNotFoundError("NVRTC was not found: pip install nvidia-cuda-nvrtc-cu12")


def available() -> bool:
    """Whether there is an NVRTC to compile with."""
    try:
        library()
    except FileNotFoundError:
        return False
    return True


def _check(status: int) -> None:
    if status:
        raise CompileError(library().nvrtcGetErrorString(status).decode())


def _text(program: ctypes.c_void_p, what: str) -> str:
    """The log or the PTX of a program."""
    size = ctypes.c_size_t()
    _check(getattr(library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    text = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{what}")(program, text))
    return text.value.decode()


@cache
def _compile(source: str, options: tuple[str, ...]) -> str:
    nvrtc, program = library(), ctypes.c_void_p()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None))
    try:
        texts = [option.encode() for option in options]
        if nvrtc.nvrtcCompileProgram(program, len(texts), (ctypes.c_char_p * len(texts))(*texts)):
            raise CompileError(f"NVRTC refused the source under {' '.join(options)}:\n{_text(program, 'ProgramLog')}")
        return _text(program, "PTX")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _headers(source: str, folders: Iterable[Path], seen: dict[str, str]) -> dict[str, str]:
    """The text of all headers that a source includes by their names in quotes."""
    for name in INCLUDE.findall(source):
        for folder in folders:
            path = folder / name
            if name not in seen and path.is_file():
                seen[name] = path.read_text(encoding="utf-8")
                _headers(seen[name], (*folders, path.parent), seen)
    return seen


def _folder() -> Path:
    kept = os.environ.get("UPCONV_CACHE_DIR")
    return (Path(kept) if kept else Path(tempfile.gettempdir()) / f"upconv-{os.getuid()}") / "ptx"


def compile_ptx(source: str, options: Sequence[str] = (), arch: str = "sm_80") -> str:
    """The PTX of a CUDA source, from the disk where the same text, headers and options were compiled before."""
    options = (f"--gpu-architecture={arch.replace('sm', 'compute')}", *options)  # PTX is all that is wanted
    folders = [Path(option[2:]) for option in options if option.startswith("-I")]
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    parts = [f"{major.value}.{minor.value}", *options, source]
    parts += [text for pair in sorted(_headers(source, folders, {}).items()) for text in pair]
    path = _folder() / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}.ptx"
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        pass
    ptx = _compile(source, options)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            file.write(ptx)
        os.replace(file.name, path)
    except OSError:
        pass  # a disk that cannot be written costs time only
    return ptx
