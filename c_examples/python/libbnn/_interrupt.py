"""Ctrl-C while the library calls back.

Python raises KeyboardInterrupt wherever its code happens to be, and that may be where a callback begins, outside of any try: ctypes would print the exception and
go on. So the signal is kept until it can be raised.
"""
from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupts:
    """Keeps SIGINT while it is entered; deliver and leaving hand one that came to the handler of before. Other threads than the main one see no signals."""

    def __init__(self) -> None:
        self.came: tuple[int, Any] | None = None
        self.handler: Any = None

    def __enter__(self) -> Interrupts:
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler) and threading.current_thread() is threading.main_thread():
            self.handler = handler
            signal.signal(signal.SIGINT, self._keep)
        return self

    def _keep(self, number: int, frame: Any) -> None:
        self.came = number, frame

    def deliver(self) -> None:
        """Calls the handler of before, which usually raises KeyboardInterrupt."""
        if self.came is not None:
            came, self.came = self.came, None
            self.handler(*came)

    def __exit__(self, *_: object) -> None:
        if self.handler is not None:
            signal.signal(signal.SIGINT, self.handler)
            self.deliver()
            self.handler = None
