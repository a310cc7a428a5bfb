"""What is sent to workers: a function, pickled once, and what it gave or why it failed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from mho.core.extras import need

_LONGEST = 500


@dataclass
class Done:
    """What became of one task.

    Attributes:
        value: that its function returned; None if it failed.
        error: why it failed, in one line; None if it did not.
        seconds: that it took.
        cause: the exception, where it was raised in this process.
    """

    value: Any = None
    error: str | None = None
    seconds: float = 0.0
    cause: BaseException | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Exceptions may be impossible to pickle, or to build again: their text always is.
        return {**vars(self), "cause": None}


class Work:
    """A function that travels to other processes as bytes, built once in each.

    Functions of a notebook, lambdas and closures travel, too.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._home = os.getpid()

    def __call__(self, *arguments: Any) -> Done:
        """Call the function; whatever it raises is what `Done` says."""
        if os.getpid() != self._home:
            torch.set_num_threads(1)  # each worker computes with one core: the same bits anywhere
        begun = time.perf_counter()
        try:
            value = self.function(*arguments)
        except (Exception, SystemExit) as error:
            return Done(None, said(error), time.perf_counter() - begun, error)
        return Done(value, None, time.perf_counter() - begun)

    @functools.cached_property
    def packed(self) -> bytes:
        """The function, pickled.

        Raises:
            TypeError: if it cannot be.
        """
        found = importlib.util.find_spec("cloudpickle")
        dumps = need("cloudpickle", "study").dumps if found else pickle.dumps
        try:
            packed: bytes = dumps(self.function)
        except Exception as error:
            raise TypeError(
                "evaluate must be one that can be pickled, to be sent to worker processes: "
                f"{said(error)}; let it open what cannot be sent (files, locks, generators) "
                "itself, or use workers=0"
            ) from error
        return packed

    @functools.cached_property
    def digest(self) -> str:
        """What tells this function from others."""
        return hashlib.sha256(self.packed).hexdigest()

    def check(self, pool: Any) -> None:
        """Refuse what cannot be sent to a pool's workers, unless these are threads (TypeError)."""
        if not isinstance(getattr(pool, "executor", None), ThreadPoolExecutor):
            _ = self.packed

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (self.digest, self.packed, self._home)

    def __dask_tokenize__(self) -> str:
        return self.digest


_known: dict[str, Work] = {}


def _unpacked(digest: str, packed: bytes, home: int) -> Work:
    # The last one alone: workers that serve many studies do not keep all their models.
    if digest not in _known:
        _known.clear()
        _known[digest] = Work(pickle.loads(packed))
    _known[digest]._home = home
    return _known[digest]


def said(error: BaseException) -> str:
    """Say an exception in one line that any file can hold, whatever it says of itself."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # of others, whose __str__ fails
        text = ""
    # Names of files may have characters that UTF-8 has not; databases take no NUL.
    text = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute every operation with this many threads inside a ``with`` block.

    One thread gives the same bits on machines with any number of cores, and stays fast where
    others are busy on them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def unwrapped(function: Any) -> str:
    """Return the name by which a function is known: its own, or its class's."""
    with contextlib.suppress(AttributeError):
        while isinstance(function, functools.partial):
            function = function.func
    name = str(getattr(function, "__qualname__", type(function).__qualname__))
    return name.rpartition("<locals>.")[2]
