"""Where studies are kept: a journal or SQLite file, a PostgreSQL database, or memory."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mho.core import checks
from mho.core.extras import need
from mho.core.files import drafts

_BUSY = 60.0  # s, that a write to SQLite waits for others
_POSTGRES = "postgresql"
_CLAIMS = 0x6D686F  # key of the database's lock: "mho"


@dataclass(frozen=True)
class Storage:
    """An open store.

    Attributes:
        optuna: Optuna's storage.
        name: how it is called in messages.
        alone: a context in which no other process that uses this store takes work.
        let_go: releases what this process holds of it. A lock that is taken just as Ctrl-C comes
            has nobody yet to release it, and would be held for as long as the error is kept.
    """

    optuna: Any
    name: str
    alone: Any
    let_go: Callable[[], Any] = lambda: None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Return a context in which no other process takes work from this store."""
        with told(self.name), self.alone():
            yield


@contextmanager
def told(name: str) -> Iterator[None]:
    """Say in one line what is wrong with a store that cannot be used (ValueError, OSError)."""
    try:
        yield
    except json.JSONDecodeError as error:
        raise ValueError(f"store {name!r} is damaged: {error}") from error
    except OSError as error:  # of a write, which knows no name
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, name) from error
    except Exception as error:
        # Of SQLAlchemy; Optuna has it as the cause of its own.
        origin = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None)
        if origin is None:
            raise
        raise OSError(f"store {name!r} cannot be read or written: {origin}") from error


def open_storage(store: str | Path | None) -> Storage:
    """Open a store; make it where there is none.

    Args:
        store: path of a file (``.db``: SQLite; else a journal), URL of a PostgreSQL database, or
            None for memory.

    Raises:
        ImportError: if Optuna is not installed, or what it needs for the database.
        ValueError: if the file is something else, or the URL of another database.
        OSError: if the file cannot be written.
    """
    optuna = need("optuna", "study")
    if store is None:
        return Storage(optuna.storages.InMemoryStorage(), "memory", nullcontext)
    path = checks.path("store", store)
    if "://" in str(store):
        return _database(optuna, str(store))
    path = path.absolute()  # what is evaluated may go to another folder
    if path.is_dir() or not path.name:
        raise IsADirectoryError(f"store must be a file, got the folder {str(store)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = need("filelock", "study").FileLock(f"{path}.lock", poll_interval=0.005)
    let_go = partial(lock.release, force=True)
    try:
        opened = (_sqlite if path.suffix == ".db" else _journal)(optuna, path, lock)
    except BaseException:
        let_go()
        raise
    return Storage(opened, str(path), lambda: lock, let_go)


def _sqlite(optuna: Any, path: Path, lock: Any) -> Any:
    if path.exists() and path.stat().st_size and not _begins(path, b"SQLite format 3\0"):
        raise ValueError(f"store {str(path)!r} is no SQLite file, and is left as it is")
    arguments = {"connect_args": {"timeout": _BUSY}}
    with told(str(path)), lock:  # two that make the tables at once get in each other's way
        if not path.exists() or not path.stat().st_size:
            # All tables at once, or none: who is killed between two would leave some out.
            with drafts(path) as (draft,):
                optuna.storages.RDBStorage(f"sqlite:///{draft.absolute()}").engine.dispose()
        opened = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}", arguments)
        # One write to the disk for each that is kept, instead of four; as safe.
        need("sqlalchemy", "study").event.listen(opened.engine, "connect", _ahead)
        opened.engine.dispose()
    return opened


def _ahead(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL").close()


def _journal(optuna: Any, path: Path, lock: Any) -> Any:
    if path.exists() and path.stat().st_size and not _begins(path, b'{"op_code":'):
        raise ValueError(f"store {str(path)!r} is no journal of a study, and is left as it is")

    backend = optuna.storages.journal.JournalFileBackend(str(path), lock_obj=_Lock(lock, path))
    try:
        with quiet():
            return optuna.storages.JournalStorage(backend)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"store {str(path)!r} is damaged: {error}") from error


class _Lock:
    """Of the system, which lets go of it when its holder is killed.

    Who was killed while writing leaves a part of a line, which would spoil the next one: it is cut
    off.
    """

    def __init__(self, lock: Any, path: Path) -> None:
        self._lock, self._path = lock, path

    def acquire(self) -> bool:
        """Wait for one's turn to write."""
        self._lock.acquire()
        try:
            _cut(self._path)
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """Let others write."""
        self._lock.release()


def _cut(path: Path) -> None:
    """Cut off a last line without an end."""
    with path.open("rb+") as file:
        end = file.seek(0, 2)
        if not end:
            return
        file.seek(end - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def _begins(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def _database(optuna: Any, url: str) -> Storage:
    sqlalchemy = need("sqlalchemy", "study")
    wanted = "store must be a file, or the URL of a PostgreSQL database (postgresql://…)"
    try:
        parsed = sqlalchemy.engine.make_url(url)
    except (ValueError, sqlalchemy.exc.ArgumentError):  # what it says may hold the password
        raise ValueError(f"{wanted}, got a URL that cannot be read") from None
    shown = _without_password(parsed)
    if parsed.get_backend_name() != _POSTGRES:
        raise ValueError(f"{wanted}, got {shown!r}")
    if parsed.drivername == _POSTGRES:
        parsed = parsed.set(drivername=f"{_POSTGRES}+psycopg")
    need("psycopg", "postgres")
    text = parsed.render_as_string(hide_password=False)
    try:
        engine = sqlalchemy.create_engine(parsed, pool_pre_ping=True)
    except (ImportError, sqlalchemy.exc.ArgumentError) as error:
        raise ValueError(f"store {shown!r}: its driver is not there: {error}") from error

    @contextmanager
    def alone() -> Iterator[None]:
        # The database lets go of it when this connection ends, killed or not.
        with engine.connect() as connection:
            connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(_CLAIMS)))
            try:
                yield
            finally:
                connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_unlock(_CLAIMS)))

    try:
        with alone():
            opened = optuna.storages.RDBStorage(text, {"pool_pre_ping": True})
    except sqlalchemy.exc.OperationalError as error:
        raise ConnectionError(f"store {shown!r} does not answer: {error.orig}") from error
    return Storage(opened, shown, alone)


def _without_password(url: Any) -> str:
    """Return a URL as messages show it: the driver takes a password among the options, too."""
    hidden = {name: "***" for name in url.query if "password" in name}
    text: str = url.update_query_dict(hidden).render_as_string(hide_password=True)
    return text


@contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna say warnings alone, and none that a part of it is new."""
    optuna = need("optuna", "study")
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
