"""A study as tables: pandas, files beside it, and a grid of xarray."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mho.core import files
from mho.core.extras import need
from mho.core.files import drafts
from mho.study.statistics import (
    Means,
    key,
    label,
    levels,
    means,
    number,
    numeric,
    result_names,
    setting_names,
    varied,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from mho.study.records import Outcome

FORMAT = "mho study 1"
_OWN = ("trial", "seed", "chips", "failed", "error", "seconds", "on_front", "chance")
_MOST = 10**7  # entries of a grid


# ── pandas ───────────────────────────────────────────────────────────────────────────────────────


def table(outcome: Outcome) -> pd.DataFrame:
    """Return a row for every configuration; see `Outcome.table`."""
    return framed(outcome, means(outcome))


def framed(outcome: Outcome, found: Means) -> pd.DataFrame:
    """Return means as a table, with units in ``attrs``."""
    pandas = need("pandas", "study")
    columns: dict[str, Any] = {"trial": found.trials}
    units = {"seconds": "s"}
    for path in setting_names(outcome):
        columns[_column(path)] = _shown([s.get(path) for s in found.settings])
        units[_column(path)] = outcome.units.get(path, "")
    for k, name in enumerate(found.names):
        parts = ("", found.mean), ("_std", found.std), ("_sem", found.sem)
        taken = any(f"{name}{part}" in (*columns, *_OWN) for part, _ in parts)
        for part, values in parts:
            heading = f"result.{name}{part}" if taken else f"{name}{part}"
            columns[heading] = values[:, k]
            units[heading] = outcome.units.get(name, "")
    columns["chips"], columns["failed"] = found.chips, found.failed
    columns["error"], columns["seconds"] = found.errors, found.seconds
    frame = pandas.DataFrame(columns)
    frame.attrs = {"name": outcome.name, "units": {k: v for k, v in units.items() if v}}
    return frame


def chips(outcome: Outcome) -> pd.DataFrame:
    """Return a row for every chip; see `Outcome.chips`."""
    pandas = need("pandas", "study")
    records = outcome.records
    columns: dict[str, Any] = {
        "trial": [record.trial for record in records],
        "seed": [record.seed for record in records],
    }
    units = {"seconds": "s"}
    for path in setting_names(outcome):
        columns[_column(path)] = _shown([record.settings.get(path) for record in records])
        units[_column(path)] = outcome.units.get(path, "")
    for name in result_names(outcome):
        heading = f"result.{name}" if name in columns or name in _OWN else name
        columns[heading] = [number(record.results.get(name)) for record in records]
        units[heading] = outcome.units.get(name, "")
    columns["error"] = [record.error or "" for record in records]
    columns["seconds"] = [record.seconds for record in records]
    frame = pandas.DataFrame(columns)
    frame.attrs = {"name": outcome.name, "units": {k: v for k, v in units.items() if v}}
    return frame


def _column(path: str) -> str:
    return f"setting.{path}" if path in _OWN else path


def _shown(values: Sequence[Any]) -> list[Any]:
    # A column is of one kind: files of columns (parquet) hold no others.
    found = [label(value) for value in values]
    given = [value for value in found if value is not None]
    if all(numeric(value) for value in given):
        return [math.nan if value is None else value for value in found]
    if len(given) == len(found) and len({type(value) for value in found}) == 1:
        return found
    return ["–" if value is None else str(value) for value in found]


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def save(outcome: Outcome, path: Path) -> list[Path]:
    """Write a study to a file, or to all kinds of files in a folder; see `Outcome.save`."""
    kinds = {".json": _write_json, ".csv": _write_csv, ".parquet": _write_parquet}
    if path.suffix and path.suffix not in kinds:
        raise ValueError(
            f"path must end in {', '.join(kinds)}, or in none (a folder of all), got {str(path)!r}"
        )
    if path.suffix:
        targets = [path]
    else:
        targets = [path / "study.json", path / "table.csv", path / "chips.parquet"]
    with drafts(*targets) as written:
        for draft in written:
            kinds[draft.suffix](outcome, draft)
    return targets


def _write_json(outcome: Outcome, path: Path) -> None:
    path.write_text(json.dumps(to_dict(outcome), indent=1, ensure_ascii=False) + "\n", "utf-8")


def _write_csv(outcome: Outcome, path: Path) -> None:
    frame = table(outcome)
    units = frame.attrs["units"]
    named = {name: f"{name} ({units[name]})" for name in frame.columns if name in units}
    frame.rename(columns=named).to_csv(path, index=False, encoding="utf-8")


def _write_parquet(outcome: Outcome, path: Path) -> None:
    need("pyarrow", "tables")
    chips(outcome).to_parquet(path, index=False)


def to_dict(outcome: Outcome) -> dict[str, Any]:
    """Return a study as plain values, as they go to JSON."""
    records = [
        {
            "trial": record.trial,
            "seed": record.seed,
            "settings": dict(record.settings),
            "results": {name: _written(value) for name, value in record.results.items()},
            "error": record.error,
            "seconds": record.seconds,
        }
        for record in outcome.records
    ]
    return {
        "format": FORMAT,
        "name": outcome.name,
        "objectives": dict(outcome.objectives),
        "units": dict(outcome.units),
        "records": records,
    }


def read(path: Path) -> dict[str, Any]:
    """Return the plain values of a file that `save` wrote.

    Raises:
        ValueError: if it is no such file.
    """
    if path.is_dir():
        path = path / "study.json"
    if path.suffix in (".csv", ".parquet"):
        raise ValueError(
            f"{path} is a table for other programs: a study is loaded from its JSON file"
        )
    text = files.text(path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no study: {error}") from error
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        raise ValueError(f"{path} is no study: it does not say format {FORMAT!r}")
    missing = {"name", "objectives", "units", "records"} - set(data)
    if missing:
        raise ValueError(f"{path} is no study: it lacks {', '.join(sorted(missing))}")
    return dict(data)


def _written(value: Any) -> Any:
    # JSON has no NaN and no infinity: they are written as texts that float() reads.
    value = None if value is None else float(value)
    return value if value is None or math.isfinite(value) else str(value)


def readable(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return results as they were before they went to JSON."""
    return {name: None if value is None else float(value) for name, value in results.items()}


# ── xarray ───────────────────────────────────────────────────────────────────────────────────────


def grid(outcome: Outcome, fill: bool) -> xr.Dataset:
    """Return a study as a grid over its settings and chips; see `Outcome.to_xarray`."""
    xarray = need("xarray", "study")
    found = means(outcome)
    if not found.trials:
        raise ValueError("the study holds no chips yet: there is no grid")
    names = varied(found)
    steps = {name: levels([s.get(name) for s in found.settings]) for name in names}
    places = {name: {key(v): i for i, v in enumerate(values)} for name, values in steps.items()}
    at = [tuple(places[n][key(s.get(n))] for n in names) for s in found.settings]
    _refuse_sparse(found, names, steps, at, fill)
    seeds = _seeds(outcome)
    shape = (*(len(values) for values in steps.values()), max(map(len, seeds.values())))
    filled = {name: np.full(shape, math.nan) for name in found.names}
    where = dict(zip(found.trials, at, strict=True))
    for record in outcome.records:
        place = (*where[record.trial], seeds[record.trial].index(record.seed))
        for name, value in record.results.items():
            filled[name][place] = number(value)
    axes = ["setting.chip" if name == "chip" else name for name in names]
    dims = [*axes, "chip"]
    coordinates: dict[str, Any] = {}
    for axis, (name, values) in zip(axes, steps.items(), strict=True):
        unit = outcome.units.get(name, "")
        coordinates[axis] = ([axis], _shown(values), {"units": unit} if unit else {})
    same = list(seeds.values())
    coordinates["chip"] = same[0] if all(s == same[0] for s in same) else range(shape[-1])
    constant = {n: label(v) for n, v in found.settings[0].items() if n not in names}
    variables = {
        f"result.{name}" if name in dims else name: (
            dims,
            values,
            {"units": unit} if (unit := outcome.units.get(name, "")) else {},
        )
        for name, values in filled.items()
    }
    return xarray.Dataset(variables, coordinates, {"name": outcome.name, **constant})


def _seeds(outcome: Outcome) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for record in outcome.records:
        found.setdefault(record.trial, []).append(record.seed)
    return found


def _refuse_sparse(
    found: Means, names: list[str], steps: Mapping[str, list[Any]], at: list[Any], fill: bool
) -> None:
    size = math.prod(len(values) for values in steps.values())
    if len(set(at)) < len(at):
        twice = next(place for place in at if at.count(place) > 1)
        which = [trial for trial, place in zip(found.trials, at, strict=True) if place == twice]
        raise ValueError(
            f"configurations {which[0]} and {which[1]} have the same settings, and a grid has one "
            "place for both: use table() or chips()"
        )
    if size > len(at) and not fill:
        raise ValueError(
            f"the study is no full grid: {size - len(at):,} of {size:,} combinations of "
            f"{', '.join(names)} were not run; to_xarray(fill=True) holds NaN there"
        )
    if size * max(found.chips + found.failed, default=1) > _MOST:
        raise ValueError(
            f"the grid would have {size:,} combinations of {', '.join(names)} for the {len(at):,} "
            "that were run: use table() or chips()"
        )
