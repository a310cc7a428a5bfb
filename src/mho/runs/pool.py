"""Who evaluates: processes of this machine, this process itself, or any executor."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, Protocol

import torch
from tqdm import tqdm

from mho.core import checks, memory

_A_WORKER = 150_000_000  # bytes: Python and torch, before any work
_PATIENCE = 10.0  # s, that idle workers have to end by themselves
_BEGINNINGS = 3  # of workers that are killed before they have begun
_KILLED = -9  # how a process ended that was killed, by a system out of memory for example

Factory = Callable[[], Executor]

METHOD = "spawn"
"""How worker processes begin: as new interpreters. What this process holds, of threads, locks and
graphics cards, is not copied into them."""


class NotBegunError(RuntimeError):
    """Worker processes ended as soon as they began."""


class Pool(Protocol):
    """Takes tasks, so many at a time."""

    width: int

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Begin a task."""

    def renew(self) -> bool:
        """Replace workers that died; False if that is not possible."""

    def close(self) -> None:
        """Let go of the workers, whatever they are doing."""


def cores() -> int:
    """Return how many cores this process may use."""
    count = getattr(os, "sched_getaffinity", None)
    return len(count(0)) if count else os.cpu_count() or 1


def pool_of(workers: int | None, executor: Executor | Factory | None) -> Pool:
    """Return the pool that is asked for.

    Args:
        workers: how many tasks at a time; None is as many as the executor has workers, or as there
            are cores, and memory for them. 0 without an executor is this process itself.
        executor: what runs them; None is processes of this machine.
    """
    if workers is not None:
        workers = checks.integer("workers", workers, least=0 if executor is None else 1)
    if executor is not None:
        return Given(executor, workers)
    if workers == 0:
        return Here()
    if workers is None:
        return Processes(max(1, int(min(cores(), memory.left("cpu") / _A_WORKER))))
    memory.refuse(f"{workers:,} worker processes", workers * _A_WORKER, "cpu", "say fewer workers")
    return Processes(workers)


class Here:
    """This process: one task after the other, begun and finished by `submit`."""

    width = 1

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Carry out a task."""
        done: Future[Any] = Future()
        done.set_result(call(*arguments))
        return done

    def renew(self) -> bool:
        """Nothing dies here but everything."""
        return False

    def close(self) -> None:
        """Nothing is held."""


class Given:
    """An executor that somebody else made, and will close."""

    def __init__(self, executor: Executor | Factory, workers: int | None) -> None:
        self._make = None if isinstance(executor, Executor) else executor
        if self._make is not None and not callable(self._make):
            raise TypeError(
                "executor must be an Executor of concurrent.futures, or a function that makes "
                f"one, got {executor!r} ({type(executor).__name__})"
            )
        self.executor = self._made() if self._make else executor
        self.width = workers or getattr(self.executor, "_max_workers", None) or cores()

    def _made(self) -> Executor:
        assert self._make is not None
        made = self._make()
        checks.instance("what executor() makes", made, Executor)
        return made

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Begin a task."""
        assert isinstance(self.executor, Executor)
        return self.executor.submit(call, *arguments)

    def renew(self) -> bool:
        """Make another executor, if one knows how."""
        if self._make is None:
            return False
        self.close()
        self.executor = self._made()
        return True

    def close(self) -> None:
        """Close what was made here; an executor that was given stays open."""
        if self._make is not None and isinstance(self.executor, Executor):
            self.executor.shutdown(wait=False, cancel_futures=True)


class Processes:
    """Processes of this machine, one thread each, that end when this one does."""

    def __init__(self, workers: int) -> None:
        self.width = workers
        self._executor: ProcessPoolExecutor | None = None
        self._leash: Connection | None = None
        self._busy: set[Future[Any]] = set()

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Begin a task; the first begins the processes."""
        if self._executor is None:
            self._begin()
        assert self._executor is not None
        future = self._executor.submit(call, *arguments)
        self._busy.add(future)
        future.add_done_callback(self._busy.discard)
        return future

    def _begin(self) -> None:
        for left in range(_BEGINNINGS - 1, -1, -1):
            others = set(multiprocessing.active_children())
            first = self._made().submit(os.getpid)
            begun = set(multiprocessing.active_children()) - others
            try:
                first.result()
                return
            except BrokenExecutor as error:
                self.close()
                if not any(process.exitcode == _KILLED for process in begun):
                    raise NotBegunError(
                        "worker processes end as soon as they begin (their message is above): in "
                        'a script, what starts them must stand under if __name__ == "__main__":, '
                        "as every worker imports the script; workers=0 needs no processes"
                    ) from error
                if not left:
                    raise NotBegunError(
                        f"worker processes were killed as they began, {_BEGINNINGS} times: is "
                        "there memory for so many workers?"
                    ) from error

    def _made(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context(METHOD)
        end, self._leash = context.Pipe(duplex=False)
        copied = self._leash if METHOD == "fork" else None
        self._executor = ProcessPoolExecutor(
            self.width, mp_context=context, initializer=_begin_worker, initargs=(end, copied)
        )
        return self._executor

    def renew(self) -> bool:
        """Begin new processes at the next task."""
        self.close()
        return True

    def close(self) -> None:
        """End all processes now; those that have nothing to do end by themselves, and tidily."""
        executor, self._executor = self._executor, None
        if executor is not None:
            ending = threading.Thread(
                target=executor.shutdown, kwargs={"wait": True, "cancel_futures": True}
            )
            ending.start()
            ending.join(0.0 if self._busy else _PATIENCE)
        if self._leash is not None:
            self._leash.close()
            self._leash = None
        if executor is not None:
            ending.join()


def refuse_worker(name: str) -> None:
    """Refuse to be called while a worker imports the user's script (RuntimeError)."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(
            f'{name} must stand under if __name__ == "__main__": every worker process imports this '
            "script, and would start the study again"
        )


def _begin_worker(leash: Connection, copied: Connection | None) -> None:
    if copied is not None:
        copied.close()  # of the other end, which only the one that started us may hold
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started us
    # The lock of bars is one of several processes, and complained of when this one ends at once.
    tqdm.set_lock(threading.RLock())
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(leash,), daemon=True).start()


def _end_with(leash: Connection) -> None:
    """End this process when the other end of a pipe is closed, by its owner or by its death."""
    try:
        leash.recv()
    except (EOFError, OSError):
        os._exit(1)
