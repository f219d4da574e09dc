"""Compiling kernels: Numba with the global lock released, at first use, kept on disk.

Numba's own cache looks only at the file that holds a function, so an edit of a tile would run stale machine code, and
it cannot key a kernel that closes over an intrinsic. This one keys a kernel by its name, its signature, the CPU, and
the text of every source in this folder.

Numba tells functions of one name apart, as the float32 and the float64 form of a kernel, by numbering them in every
process from 1, and the numbers are part of the symbols of the machine code. Of two kernels that different processes
have compiled, one's symbols would then be taken for the other's in a third process that loads both: numbers that no
other process has come first.
"""

import hashlib
import itertools
import logging
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, compiler, types
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import _Cache
from numba.core.serialize import dumps
from numba.extending import intrinsic
from numba.misc.appdirs import AppDirs

logger = logging.getLogger("upconv")


def _number_apart() -> None:
    """Let the functions of this process have numbers of their own."""
    FunctionIdentity._unique_ids = itertools.count(int.from_bytes(os.urandom(7), "big") + 1)


_number_apart()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_number_apart)


def cache_directory() -> Path:
    """Where machine code is kept: $UPCONV_CACHE_DIR, or `upconv` in the user's cache folder."""
    return Path(os.environ.get("UPCONV_CACHE_DIR") or AppDirs("upconv", appauthor=False).user_cache_dir)


@cache
def _sources() -> bytes:
    """A digest of everything that decides what a kernel compiles to, but for its name and the CPU."""
    versions = sys.implementation.cache_tag, version("numba"), version("llvmlite")
    digest = hashlib.sha256(repr(versions).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()


@cache
def _announce() -> None:
    """Say once why the first call is slow. (A warning is shown unless logging is configured otherwise.)"""
    logger.warning("upconv: compiling kernels for this CPU, a few seconds each; they are kept in %s", cache_directory())


class DiskCache(_Cache):
    """One kernel's machine code: a file for each signature, CPU and state of the sources."""

    def __init__(self, name: str) -> None:
        """name: unique to the kernel and its specialisation."""
        self.name = name

    @property
    def cache_path(self) -> str:
        """The folder of the files."""
        return str(cache_directory())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel, or None where there is none that can be read."""
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        try:
            content = path.read_bytes()
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                raise EOFError("incomplete")
            return compiler.CompileResult._rebuild(target_context, *pickle.loads(content[32:]))
        except Exception as error:
            if not isinstance(error, FileNotFoundError):
                logger.info("upconv: cannot use %s (%s); compiling again", path, error)
            _announce()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled kernel; a folder that cannot be written is no error."""
        path = self._path(sig, data.codegen)
        content = dumps(data._reduce())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                try:
                    file.write(hashlib.sha256(content).digest() + content)
                    file.close()
                    os.replace(file.name, path)
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:
            logger.info("upconv: cannot keep compiled kernels in %s (%s)", path.parent, error)

    def flush(self) -> None:
        """Nothing is held in memory."""

    def enable(self) -> None:
        """Always on."""

    def disable(self) -> None:
        """Always on."""

    def _path(self, sig: Any, codegen: Any) -> Path:
        key = hashlib.sha256(_sources() + repr((self.name, sig, codegen.magic_tuple())).encode())
        return cache_directory() / f"{self.name}-{key.hexdigest()[:20]}.nbc"


def kernel(name: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile the decorated function at its first call, cached on disk under `name`.

    Products and sums may be contracted to fused multiply-adds; nothing else is reordered.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy")(function)
        dispatcher._cache = DiskCache(name)
        return dispatcher

    return decorate


inlined = numba.njit(fastmath={"contract"}, error_model="numpy", inline="never")


@intrinsic
def add(typing_context, address, amount):  # type: ignore[no-untyped-def]
    """`integer[address] += amount`, atomic; gives back what it was."""

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        counter = builder.inttoptr(arguments[0], cgutils.intp_t.as_pointer())
        return builder.atomic_rmw("add", counter, arguments[1], "seq_cst")

    return types.intp(types.intp, types.intp), emit


@intrinsic
def look(typing_context, address):  # type: ignore[no-untyped-def]
    """The integer at an address as another thread has left it: an atomic load."""

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.load_atomic(builder.inttoptr(arguments[0], cgutils.intp_t.as_pointer()), "acquire", 8)

    return types.intp(address), emit


def _prefetch(write: int) -> Any:
    """A function (address): ask for a cache line that will soon be read, or written."""

    @intrinsic
    def prefetch(typing_context, address):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
            function = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
            target = cgutils.get_or_insert_function(builder.module, function, "llvm.prefetch.p0")
            flags = [ir.Constant(word, flag) for flag in (write, 3, 1)]  # keep in all levels; data
            builder.call(target, [builder.inttoptr(arguments[0], byte), *flags])
            return context.get_dummy_value()

        return types.void(address), emit

    return prefetch


prefetch_read, prefetch_write = _prefetch(0), _prefetch(1)


def _view(dtype: types.Type) -> Callable[..., Any]:
    """A function (address, count) -> one-dimensional array of `dtype` over that memory."""
    pointer = types.CPointer(dtype)

    @intrinsic
    def cast(typing_context, address):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.inttoptr(arguments[0], context.get_value_type(pointer))

        return pointer(address), emit

    @numba.njit(inline="always")
    def view(address, count):  # type: ignore[no-untyped-def]
        return numba.carray(cast(address), count)

    return view


VIEWS = {name: _view(getattr(types, name)) for name in ("float32", "float64", "int64", "int32", "uint64", "uint8")}
integers = VIEWS["int64"]


@numba.njit(inline="always")
def claim(work):  # type: ignore[no-untyped-def]
    """The next item that no thread has taken. work: address of a counter and of the bell the first rings (or 0)."""
    item = add(work, 1)
    if item == 0 and look(work + 8):
        add(look(work + 8), 1)
    return item
