"""Ray as an executor of ``concurrent.futures``, which it has none of."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from mho.core.extras import need


class RayExecutor(Executor):
    """Runs calls as tasks of Ray, on the cluster that ``ray.init`` connected to.

    A function is sent once, however often it is called. Dask needs no such class: its executor is
    ``Client.get_executor()``.

    Args:
        **options: of every task, as ``ray.remote`` takes them: ``num_cpus``, ``memory``.
    """

    def __init__(self, **options: Any) -> None:
        self._ray = need("ray", "ray")
        task = self._ray.remote(_call)
        self._task = task.options(**options) if options else task
        self._sent: dict[int, tuple[Callable[..., Any], Any]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin a task."""
        if id(fn) not in self._sent:
            self._sent[id(fn)] = (fn, self._ray.put(fn))
        future: Future[Any] = self._task.remote(self._sent[id(fn)][1], args, kwargs).future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Forget what was sent; the cluster stays as it is."""
        self._sent.clear()


def _call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs)
