"""Specs in YAML files, to be read and edited by people; files written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from mho.core import checks
from mho.core.spec import Spec
from mho.core.text import size

S = TypeVar("S", bound=Spec)

MOST = 1 << 30
"""Bytes of a file that `content` reads."""

FORMAT = 1
"""Of the files that `save` writes. A file that tells it ends with ``...``, or is cut short."""


def load(path: str | Path, kind: type[S]) -> S:
    """Read a spec from a YAML file, as `save` writes it, or as people do.

    What YAML 1.1 would take for something else is read as people mean it: ``1e-6`` is a number;
    ``010``, ``1:30``, ``2026-01-01``, ``yes`` and ``off`` are texts, which no number or truth value
    accepts.

    Args:
        path: of the file. ``type`` may be left out at the top.
        kind: of spec.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not YAML, is cut short or of a newer format, gives a name twice,
            refers to itself without end, a key is unknown or a value is refused.
        TypeError: if a part is of another kind than its place asks for.
    """
    data = read(path)
    if not isinstance(data, dict):
        raise TypeError(
            f"{path} describes no {kind.__name__}: it is no list of names and values (a file of "
            "measurements becomes a device by mho fit)"
        )
    told = data.pop("format", FORMAT)
    if told != FORMAT or type(told) is not int:
        raise ValueError(f"{path}: format {told!r} is not known, {FORMAT} is: a newer mho's?")
    try:
        return kind.from_dict(data)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error


def read(path: str | Path) -> Any:
    """Return what a YAML file holds, as plain values, words read as `load` says.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not YAML, is cut short, gives a name twice or holds too much.
    """
    from mho.core import yaml_reader  # here, since few programs read files and all import this

    return yaml_reader.read(checks.path("path", path))


def content(path: str | Path, most: int = MOST) -> bytes:
    """Return the bytes of a file; one that is longer, or has no end, is not read whole but refused.

    Args:
        path: of the file.
        most: bytes that it may hold.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it holds more.
    """
    with checks.path("path", path).open("rb") as file:
        found = file.read(most + 1)
    if len(found) > most:
        raise ValueError(f"{path} holds more than {size(most)}: it is not read")
    return found


def text(path: str | Path, most: int = MOST, errors: str = "strict") -> str:
    """Return a file's text, UTF-8; see `content`.

    Raises:
        OSError, ValueError: as `content`; also if it is no UTF-8 and errors are strict.
    """
    try:
        found = content(path, most).decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error
    return found.replace("\r\n", "\n").replace("\r", "\n")


def inside(folder: str | Path, name: str) -> Path:
    """Return the path of something that a file names, where that lies in a folder.

    Args:
        folder: in which it must lie, links followed.
        name: relative to the folder, or absolute.

    Raises:
        ValueError: if it leads out of the folder.
    """
    path = checks.path("folder", folder) / checks.path("name", name)
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"{name!r} must lie in the folder {str(Path(folder).absolute())!r}")
    return path


def save(spec: Spec, path: str | Path) -> None:
    """Write a spec to a YAML file that `load` reads back, equal.

    Whatever goes wrong, an older file at its place is whole: it is written aside and moved.

    Args:
        spec: what to write.
        path: where to; an existing file is replaced.
    """
    import yaml

    data = {"format": FORMAT, **spec.to_dict()}
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, explicit_end=True)
    with aside(path) as draft:
        draft.write_text(text, encoding="utf-8")


@contextmanager
def aside(path: str | Path) -> Iterator[Path]:
    """Give another name, beside ``path``, to write a file under; it is then moved to its place.

    Whatever goes wrong, or whoever kills the process, what stood at the path stands there whole.
    The name is nobody else's, and ends as the path does. A link stays a link: the file that it
    leads to is replaced. A file's permissions are kept, and its owner as far as the system lets.

    Raises:
        FileNotFoundError: if the folder does not exist.
        PermissionError: if the file, or its folder, is read-only.
        OSError: if the path is a folder or a device, or nothing can be written there: the disk is
            full, for example.
    """
    path = checks.path("path", path)
    target = _followed(path)
    old = target.stat() if target.exists() else None
    # The system's own temporary names are for their maker alone: here the umask counts, and what
    # only some may read is read by nobody else in the meantime.
    draft = target.with_name(f".{target.stem[:_STEM]}.{secrets.token_hex(6)}{path.suffix}")
    with _named(target, draft):
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if old else 0o666))
            yield draft
            _to_disk(draft)
            if old:
                _as_before(draft, old)
            os.replace(draft, target)
            _to_disk(target.parent)
        finally:
            draft.unlink(missing_ok=True)


_STEM = 40


def sweep_up(path: str | Path) -> None:
    """Remove what was left beside a file by processes killed while they wrote it (see `aside`).

    Nobody may be writing it now. Where other files' drafts could bear such a name nothing is done.
    """
    target, ending = Path(os.path.realpath(path)), re.escape(Path(path).suffix)
    left = re.compile(rf"\.{re.escape(target.stem)}\.[0-9a-f]{{12}}{ending}")
    if len(target.stem) <= _STEM:
        for name in os.listdir(target.parent):
            if left.fullmatch(name):
                target.with_name(name).unlink(missing_ok=True)


def _followed(path: Path) -> Path:
    """Return the file that a path, or the link there, stands for; refuse what cannot be one."""
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.is_symlink():
        raise OSError(errno.ELOOP, "links lead in a circle, not to a file to write", str(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file to write")
    if path.exists() and not target.is_file():
        raise OSError(f"{path} is no file to write, but a device or a pipe")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target.parent} is no folder: {path} cannot be written there")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"{path} is read-only, and is left as it is")
    return target


@contextmanager
def _named(target: Path, draft: Path) -> Iterator[None]:
    """Name the file that was to be written, not its draft, in errors of the system."""
    try:
        yield
    except OSError as error:
        ours = error.filename in (str(draft), draft)
        if not ours and (error.filename is not None or error.errno not in _FULL):
            raise
        text = error.strerror or str(error)
        raise type(error)(error.errno, f"{text}: nothing was written to", str(target)) from error


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _as_before(draft: Path, old: os.stat_result) -> None:
    with suppress(AttributeError, PermissionError):  # Windows; who is not allowed to give it away
        os.chown(draft, old.st_uid, old.st_gid)
    draft.chmod(stat.S_IMODE(old.st_mode))


def _to_disk(path: Path) -> None:
    """Wait until what was written is on the disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some file systems do not know it of folders
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


@contextmanager
def drafts(*targets: Path) -> Iterator[list[Path]]:
    """As `aside`, of several files: all take their places if the ``with`` block ends well.

    Their folders are made.

    Args:
        targets: of the files; existing ones are replaced.

    Raises:
        ValueError: if two are one file.
        OSError: if a target cannot be written, is a folder for example.
    """
    if len({os.path.realpath(target) for target in targets}) < len(targets):
        raise ValueError(f"files must differ, got {', '.join(map(str, targets))}")
    for target in targets:
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder, not a file to write")
        target.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        yield [stack.enter_context(aside(target)) for target in targets]
