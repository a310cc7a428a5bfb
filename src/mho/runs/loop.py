"""The one loop: tasks go to a pool, and what they gave is kept before another begins."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field
from typing import Any

from mho.runs.pool import Here, NotBegunError, Pool
from mho.runs.work import Done, said

_PAUSE = 0.5  # s, between two looks for more to do
_LONGEST = 20.0  # s, without a look at what others do
_RENEWALS = 5  # of workers, one after the other, none of which finished anything


@dataclass(frozen=True)
class Task:
    """Something to do.

    Attributes:
        key: what it is, for whoever keeps what it gave.
        call: does it, and returns `Done`.
        arguments: of the call.
    """

    key: Any
    call: Callable[..., Done]
    arguments: tuple[Any, ...]


@dataclass
class _State:
    running: dict[Future[Done], Task] = field(default_factory=dict)
    again: deque[Task] = field(default_factory=deque)  # were lost once; done again, alone
    renewals: int = 0
    begun: bool = False


def run(
    pool: Pool,
    tasks: Iterator[Task | None],
    finish: Callable[[Any, Done], None],
    tick: Callable[[], object] = lambda: None,
) -> None:
    """Do all tasks; each is finished (kept) before another begins in its place.

    A task whose worker dies is done once more, with no other beside it: if its worker dies again,
    that is its error.

    Args:
        pool: that does them; closed at the end.
        tasks: one after the other, asked for when a worker is free; None says that there is none
            now, but may be later. A generator is closed at the end.
        finish: called with the key and what became of each task.
        tick: called from time to time, however long tasks take.

    Raises:
        RuntimeError: if workers cannot begin or be replaced, or die without having done anything.
    """
    state = _State()
    more = True
    try:
        while True:
            waiting = False
            while more and not state.again and len(state.running) < pool.width:
                task = next(tasks, _END)
                more, waiting = task is not _END, task is None
                if not isinstance(task, Task):
                    break
                _submit(pool, task, state)
            tick()
            if state.again and not state.running:
                alone = state.again.popleft()
                _submit(pool, alone, state)
                while state.running:
                    _collect(pool, state, finish, _LONGEST, alone)
                    tick()
                continue
            if state.running:
                _collect(pool, state, finish, _PAUSE if waiting else _LONGEST, None)
            elif waiting:
                time.sleep(_PAUSE)
            elif not more and not state.again:
                return
    finally:
        for future in state.running:
            future.cancel()
        try:
            pool.close()
        finally:
            # The traceback of an error keeps what was running here alive, in a notebook for good:
            # whoever gave the tasks is told now that nobody does them any more.
            getattr(tasks, "close", lambda: None)()


_END = object()


def _submit(pool: Pool, task: Task, state: _State) -> None:
    if not state.begun:
        _begin(pool, task)
        state.begun = True
    try:
        future = pool.submit(task.call, *task.arguments)
    except BrokenExecutor as error:  # its workers died while they had nothing to do
        _renew(pool, state, error)
        future = pool.submit(task.call, *task.arguments)
    state.running[future] = task


def _begin(pool: Pool, task: Task) -> None:
    """Send a worker what it is to do: what cannot be built there would fail every task."""
    if isinstance(pool, Here):
        return
    try:
        pool.submit(_ready, task.call).result()
    except NotBegunError:
        raise
    except Exception as error:
        raise RuntimeError(
            f"workers cannot begin (mho, and all that evaluate needs, must be importable there): "
            f"{said(error)}"
        ) from error


def _ready(call: Callable[..., Done]) -> bool:
    return callable(call)


def _collect(
    pool: Pool,
    state: _State,
    finish: Callable[[Any, Done], None],
    seconds: float | None,
    alone: Task | None,
) -> None:
    """Keep what has finished; what was lost is to be done again, or has failed if it was alone."""
    ready = _ready_of(state.running, seconds)
    broken = next((e for f in ready if isinstance(e := _failure(f), BrokenExecutor)), None)
    if broken is not None:
        # All that ran there are lost, or were just done.
        wait([future for future in state.running if not future.cancelled()])
        ready = _ready_of(state.running, 0.0)
    lost = []
    for future in ready:
        task = state.running.pop(future)
        error = _failure(future)
        if error is None:
            state.renewals = 0
            finish(task.key, future.result())
        elif task is alone:
            state.renewals = 0
            finish(task.key, Done(error=f"its worker died, twice: {said(error)}"))
        else:
            lost.append(task)
    state.again.extend(lost)
    if broken is not None:
        _renew(pool, state, broken)


def _ready_of(running: Iterable[Future[Done]], seconds: float | None) -> list[Future[Done]]:
    """Wait for one that is done at least; those cancelled by who did not say so are, too."""
    futures = list(running)
    if not any(future.done() for future in futures):
        wait(futures, seconds, FIRST_COMPLETED)
    return [future for future in futures if future.done()]


def _failure(future: Future[Done]) -> BaseException | None:
    # A future that a cluster gave up is cancelled: as good as lost.
    return RuntimeError("cancelled") if future.cancelled() else future.exception()


def _renew(pool: Pool, state: _State, error: BaseException) -> None:
    state.renewals += 1
    if state.renewals > _RENEWALS:
        raise RuntimeError(
            f"workers died {state.renewals} times, one after the other, with nothing done"
        ) from error
    if not pool.renew():
        raise RuntimeError(
            "the executor is broken and cannot be replaced: give a function that makes one "
            "(executor=lambda: ProcessPoolExecutor(4)); what was finished is kept"
        ) from error
