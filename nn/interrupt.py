"""Ctrl-C between steps instead of anywhere."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

logger = logging.getLogger("upconv")


class Interrupt:
    """While it is entered, the first Ctrl-C (SIGINT) only sets `asked`; the second raises KeyboardInterrupt at once.

    Only the main thread hears signals: in others, and where somebody else handles SIGINT, nothing is changed.
    """

    def __init__(self) -> None:
        """Nothing was asked for yet."""
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        """Listen."""
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen no more."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        logger.warning("upconv: stopping after this step; Ctrl-C again stops at once")
