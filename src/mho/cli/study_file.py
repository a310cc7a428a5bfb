"""The file of a study: what it may say, read from YAML, refused where it is not understood."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import mho
from mho.analysis import ChipArchitecture
from mho.cli import given
from mho.core import checks, files
from mho.core.text import meant
from mho.devices import presets
from mho.study import Integers, Range
from mho.study.samplers import MOST

BUILT_IN = Path(__file__).parent / "studies"


@dataclass(frozen=True)
class StudyFile:
    """What a file says; every key of it is one of these.

    Attributes:
        name: of the study in its store; the file's own if not said.
        model: ``demo`` or ``demo:CNN`` (the demo's convolutional network), ``demo:MLP``, or
            ``module:function`` of one's own, which is called: a study runs that code.
        hardware: the file of a hardware; or of a device, or a preset's name, put on arrays of the
            chip's size with 8-bit converters; or the fields of a hardware by name (a device by the
            name of a preset or a file, too). The default hardware if not said.
        architecture: a published chip's name or a file; without one there are no costs.
        space: what to vary, by path; a list, or ``{low: …, high: …}`` with ``log: true`` or
            ``step: …`` (integers).
        together: fields that one name of the space sets, as ``tile: [array.rows, array.cols]``.
        after: how long the cells lie before the test (s).
        objectives: among accuracy, energy, latency and area.
        sampler: as `mho.study.sweep` knows it.
        trials: how many configurations; all of a grid.
        chips: of every configuration.
        seed: of everything random but the chips, which have their own.
        workers: processes; as many as cores if not said.
        store: a file, or the URL of a database; ``study.journal`` in ``out`` if not said.
        out: folder of the results; named as the study if not said.
        best: what to choose: ``minimize`` or ``maximize`` with limits, as `mho.study.Outcome.best`
            takes them; ``reference: digital`` is the accuracy of the network in plain PyTorch.
        verify: on how many new chips the choice is made once more.
        quick: keys that another, shorter study has instead, with ``--quick``.
    """

    name: str = "study"
    model: str = "demo"
    hardware: Any = None
    architecture: str | None = None
    space: Mapping[str, Any] = field(default_factory=dict)
    together: Mapping[str, Any] = field(default_factory=dict)
    after: float = 0.0
    objectives: tuple[str, ...] | None = None
    sampler: str = "grid"
    trials: int | None = None
    chips: int = 4
    seed: int = 0
    workers: int | None = None
    store: str | None = None
    out: str | None = None
    best: Mapping[str, Any] | None = None
    verify: int = 0
    quick: Mapping[str, Any] | None = None
    folder: Path = field(default=Path(), metadata={"key": False})
    trusted: bool = field(default=False, metadata={"key": False})

    # ── what it means ────────────────────────────────────────────────────────────────────────────

    def hardware_of(self) -> mho.Hardware:
        """Return the hardware whose fields are varied."""
        if self.hardware is None:
            return mho.Hardware()
        if isinstance(self.hardware, str):
            beside = self._beside(self.hardware)
            text = str(beside) if beside.exists() else self.hardware
            return given.on_chip(text, self.architecture_of())
        checks.instance("hardware", self.hardware, Mapping)
        fields = dict(self.hardware)
        if "device" in fields:
            fields["device"] = self._device(fields["device"])
        found: mho.Hardware = mho.Hardware.from_dict(fields)
        return found

    def architecture_of(self) -> ChipArchitecture | None:
        """Return the chip around the cells; None: no costs."""
        if self.architecture is None:
            return None
        beside = self._beside(self.architecture)
        return given.architecture(str(beside) if beside.is_file() else self.architecture)

    def space_of(self) -> dict[str, Any]:
        """Return what is varied, as `mho.study.sweep` takes it."""
        checks.instance("space", self.space, Mapping)
        if not self.space:
            raise ValueError("space must name at least one thing to vary, got none")
        return {str(path): self._values(str(path), v) for path, v in self.space.items()}

    def together_of(self) -> dict[str, tuple[str, ...]]:
        """Return the fields that names of the space set."""
        checks.instance("together", self.together, Mapping)
        for name, paths in self.together.items():
            checks.instance(f"together, {name},", paths, list)
            if not paths:
                raise ValueError(f"together, {name}, must name at least one field, got none")
            if name not in self.space:
                raise ValueError(f"together names {name!r}, which is not in the space")
            self._refuse_overwritten(str(name), paths)
        return {str(name): tuple(map(str, paths)) for name, paths in self.together.items()}

    def _refuse_overwritten(self, name: str, paths: list[Any]) -> None:
        others = [p for other, more in self.together.items() if other != name for p in more]
        for path in map(str, paths):
            for other in map(str, (*self.space, *others)):
                if other == path or other.startswith(f"{path}."):
                    raise ValueError(
                        f"together, {name}, sets {path!r}, and so {other!r} would change nothing: "
                        "leave one of them out"
                    )

    def out_of(self, out: Path | None) -> Path:
        """Return the folder of the results."""
        if out is not None:
            return out
        return self._own("out" if self.out else "name", self.out or self.name.replace(" ", "_"))

    def store_of(self, out: Path) -> str:
        """Return where the study is kept."""
        if self.store is None:
            return str(out / "study.journal")
        return self.store if "://" in self.store else str(self._own("store", self.store))

    def _own(self, key: str, path: str) -> Path:
        """Return where the file may write: in its folder, unless its user trusts it."""
        if self.trusted:
            return self._beside(path)
        try:
            return files.inside(self.folder, os.path.expanduser(path))
        except ValueError as error:
            raise ValueError(
                f"{key} {error}: the file of a study writes beside itself; choose another folder "
                "by --out, or say --trust if the file is yours"
            ) from None

    def _beside(self, path: str) -> Path:
        return self.folder / Path(path).expanduser()

    def _values(self, path: str, values: Any) -> Any:
        if isinstance(values, Mapping) and "type" not in values:
            known = ("low", "high", "log", "step")
            _refuse_unknown(f"the range of {path}", values, known)
            if not {"low", "high"} <= set(values):
                raise ValueError(f"the range of {path} must say low and high, got {dict(values)}")
            return (Integers if "step" in values else Range)(**values)
        if isinstance(values, list) and path == "device":
            return [self._device(value) for value in values]
        return values

    def _device(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if Path(value).suffix:
            return given.device(str(self._beside(value)))
        return presets.get(value)


def load(what: str, *, quick: bool = False, trust: bool = False) -> StudyFile:
    """Read the file of a study, or a built-in one by its name.

    Args:
        what: the path of a file, or a name.
        quick: whether its ``quick`` keys count.
        trust: whether it may name folders and stores that lie elsewhere than beside it.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError, ValueError: if it says what is not understood.
    """
    path, folder = Path(what), Path(what).parent
    if not path.suffix and not path.exists():
        path, folder = BUILT_IN / f"{what}.yaml", Path()
        if not path.exists():
            names = sorted(one.stem for one in BUILT_IN.glob("*.yaml"))
            raise FileNotFoundError(
                f"{what!r} is no file, and no built-in study: there is {', '.join(names)}"
                f"{meant(what, names)}"
            )
    data = files.read(path)
    if not isinstance(data, Mapping):
        raise TypeError(f"{path} describes no study: it is no list of names and values")
    if "type" in data:
        raise TypeError(f"{path} must describe a study, it is a {data['type']}")
    _refuse_unknown(str(path), data, KEYS)
    short = data.get("quick")
    if quick:
        if not isinstance(short, Mapping):
            raise ValueError(f"{path} has no quick study: it needs a part 'quick' with other keys")
        _refuse_unknown(f"{path}, quick,", short, [key for key in KEYS if key != "quick"])
        name = data.get("name", path.stem)
        data = {**data, "name": f"{name} quick", **short}
    return _checked({"name": path.stem, **data}, folder, trust)


def _checked(data: Mapping[str, Any], folder: Path, trust: bool) -> StudyFile:
    data = dict(data)
    for key in ("name", "model", "sampler"):
        if key in data:
            checks.instance(key, data[key], str)
            if not data[key]:
                raise ValueError(f"{key} must be said, got ''")
    for key in ("architecture", "store", "out"):
        if data.get(key) is not None:
            checks.instance(key, data[key], str)
    if data.get("objectives") is not None:
        given_objectives = data["objectives"]
        checks.instance("objectives", given_objectives, (list, str, Mapping))
        if isinstance(given_objectives, str):
            given_objectives = [given_objectives]
        if isinstance(given_objectives, Mapping):
            _check_ways(given_objectives)
        data["objectives"] = tuple(given_objectives)
    if data.get("best") is not None:
        checks.instance("best", data["best"], Mapping)
    for key in ("chips", "trials"):
        if data.get(key) is not None:
            data[key] = checks.integer(key, data[key], most=MOST)
    if "verify" in data:
        data["verify"] = checks.integer("verify", data["verify"], least=0, most=MOST)
    return StudyFile(**data, folder=folder, trusted=trust)


def _check_ways(objectives: Mapping[str, Any]) -> None:
    for name, way in objectives.items():
        wanted = "maximize" if name == "accuracy" else "minimize"
        if way != wanted:
            raise ValueError(f"objective {name} must be {wanted!r}, got {way!r}")


def _refuse_unknown(where: str, data: Mapping[str, Any], known: Any) -> None:
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), list(known), n=1, cutoff=0.5)
            meant = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
            raise ValueError(f"{where} has no key {key!r}: {meant}")


KEYS = tuple(f.name for f in fields(StudyFile) if f.metadata.get("key", True))
