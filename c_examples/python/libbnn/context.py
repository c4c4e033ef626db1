"""What computes: a device with its threads."""
from __future__ import annotations

import os
from functools import lru_cache

from ._call import size
from ._handle import Handle
from .report import Report, reported


class Context(Handle):
    """The CPU with a number of threads; 0 takes as many as the machine has. It may be shared between Python's threads.

    Raises BNN_ERR_INVALID above 1024 threads, and BNN_ERR_UNSUPPORTED when they cannot be started.
    """

    _free = "bnn_context_free"

    def __init__(self, threads: int = 0) -> None:
        self._own("bnn_context_new", threads)

    @property
    def threads(self) -> int:
        """Calls bnn_context_threads: how many compute."""
        return size("bnn_context_threads", self)

    def info(self) -> Report:
        """Calls bnn_context_info: version, ABI, threads, the instructions that kernels are chosen for, and how the library was built."""
        return reported("bnn_context_info", self)


@lru_cache(maxsize=None)
def _of_process(pid: int) -> Context:
    return Context()


def context_of(given: Context | None) -> Context:
    """Returns a context, or that of this process with all the machine's threads: a forked process has one of its own."""
    return _of_process(os.getpid()) if given is None else given
