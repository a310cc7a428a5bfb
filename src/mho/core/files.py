"""Specs in YAML files, to be read and edited by people; files written whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mho.core.spec import Spec

S = TypeVar("S", bound=Spec)

_NUMBER = re.compile(r"^[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+$")


def load(path: str | Path, kind: type[S]) -> S:
    """Read a spec from a YAML file, as `save` writes it.

    Args:
        path: of the file. ``type`` may be left out at the top.
        kind: of spec.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not YAML, a key is unknown or a value is refused.
        TypeError: if a part is of another kind than its place asks for.
    """
    data = read(path)
    if not isinstance(data, Mapping):
        raise TypeError(
            f"{path} describes no {kind.__name__}: it is no list of names and values (a file of "
            "measurements becomes a device by mho fit)"
        )
    return kind.from_dict(data)


def read(path: str | Path) -> Any:
    """Return what a YAML file holds, as plain values.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not YAML.
    """
    import yaml  # here, since few programs read files and all import this module

    class Loader(yaml.SafeLoader):
        """YAML 1.1 reads ``1e-6`` as text; people (and YAML 1.2) mean a number."""

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+0123456789."))
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error


def save(spec: Spec, path: str | Path) -> None:
    """Write a spec to a YAML file that `load` reads back, equal.

    Args:
        spec: what to write.
        path: where to; an existing file is replaced.
    """
    import yaml

    text = yaml.safe_dump(spec.to_dict(), sort_keys=False, allow_unicode=True)
    Path(path).write_text(text, encoding="utf-8")


@contextmanager
def drafts(*targets: Path) -> Iterator[list[Path]]:
    """Give other names to write files under; all take their places if the ``with`` block ends well.

    Whatever goes wrong in between, what stood at the targets stands there still. Their folders are
    made. A draft ends as its target does.

    Args:
        targets: of the files; existing ones are replaced.

    Raises:
        OSError: if a target cannot be written, is a folder for example.
    """
    for target in targets:
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder, not a file to write")
        target.parent.mkdir(parents=True, exist_ok=True)
    written = [
        target.with_name(f".{target.stem}.{os.getpid()}.draft{target.suffix}") for target in targets
    ]
    try:
        yield written
        for draft, target in zip(written, targets, strict=True):
            os.replace(draft, target)
    finally:
        for draft in written:
            draft.unlink(missing_ok=True)
