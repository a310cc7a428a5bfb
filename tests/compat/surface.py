"""A walk over the whole public surface of an old API, as its facts list it.

The facts say of every module which names it has (``"from …"``: from another module; ``"def(…)"``: a
function; ``"value …"``; a class as its bases, methods, values and attributes). What differs on
purpose is a table of the documentation, "Signatures that differ", which is read from there.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from abc import ABC
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn, optim

from compat.overriding import api

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOTHING = "nothing"

Parameters = list[inspect.Parameter]
Differences = set[tuple[str, str]]


def functions(system: str) -> Iterator[tuple[str, str, str]]:
    """Yield module, path in it and ``def(…)`` of every function, method and constructor."""
    for module, found in api(system).items():
        for name, facts in found.items():
            if isinstance(facts, dict):
                for method, told in facts["methods"].items():
                    yield module, f"{name}.{method}", told
            elif facts.startswith("def("):
                yield module, name, facts


def classes(system: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield module, name and facts of every class."""
    for module, found in api(system).items():
        for name, facts in found.items():
            if isinstance(facts, dict):
                yield module, name, facts


def values(system: str) -> Iterator[tuple[str, str, str]]:
    """Yield module, name and ``value …`` of everything else that a module defines."""
    for module, found in api(system).items():
        for name, facts in found.items():
            if isinstance(facts, str) and facts.startswith("value "):
                yield module, name, facts


def told_parameters(told: str, module: ModuleType) -> Parameters:
    """Read ``def(a, b=1, *args, c, **kwargs)``; defaults are evaluated where they were written."""
    tree = ast.parse(f"def told{told.removeprefix('def')}: pass").body[0]
    assert isinstance(tree, ast.FunctionDef)
    arguments, kind = tree.args, inspect.Parameter
    plain = [*arguments.posonlyargs, *arguments.args]
    empty = [None] * (len(plain) - len(arguments.defaults))
    found = [
        _parameter(a.arg, kind.POSITIONAL_OR_KEYWORD, default, module)
        for a, default in zip(plain, [*empty, *arguments.defaults], strict=True)
    ]
    if arguments.vararg:
        found.append(kind(arguments.vararg.arg, kind.VAR_POSITIONAL))
    found += [
        _parameter(a.arg, kind.KEYWORD_ONLY, default, module)
        for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        found.append(kind(arguments.kwarg.arg, kind.VAR_KEYWORD))
    return found


def _parameter(name: str, kind: Any, default: ast.expr | None, module: ModuleType) -> Any:
    value = inspect.Parameter.empty if default is None else evaluate(ast.unparse(default), module)
    return inspect.Parameter(name, kind, default=value)


def evaluate(text: str, module: ModuleType) -> Any:
    """Evaluate an expression with the names of the module that it was written in."""
    around = {"torch": torch, "nn": nn, "optim": optim, "Module": nn.Module, "ABC": ABC}
    system = module.__name__.removeprefix("mho.compat.").partition(".")[0]
    around |= {"Enum": Enum, system: importlib.import_module(system)}
    return eval(text, {**vars(module), **around})


def differences(told: Parameters, found: Parameters) -> Differences:
    """Compare parameters by place: ``{(documented, here)}``, "nothing" where there is none.

    Parameters of mho's own after all documented ones, or before ``*args`` and ``**kwargs``, do not
    shift the others.
    """
    known = {p.name for p in told}
    own = [p for p in found if p.name not in known]
    rest = [p for p in found if p.name in known]
    result = {(NOTHING, text(p)) for p in own}
    first = next((k for k, p in enumerate(found) if p in own), len(found))
    shifted = any(p.kind is p.POSITIONAL_OR_KEYWORD and p.name in known for p in found[first:])
    if shifted or [p.name for p in rest] != [p.name for p in told]:
        return {(", ".join(map(text, told)), ", ".join(map(text, found)))}
    return result | {
        (text(a), text(b)) for a, b in zip(told, rest, strict=True) if not _agree(a, b)
    }


def _agree(a: inspect.Parameter, b: inspect.Parameter) -> bool:
    same_type = isinstance(a.default, bool) == isinstance(b.default, bool)
    nan = a.default != a.default and b.default != b.default
    return a.kind is b.kind and same_type and (nan or a.default == b.default)


def text(parameter: inspect.Parameter) -> str:
    """Say a parameter as it is written."""
    told = str(parameter.replace(annotation=inspect.Parameter.empty))
    return re.sub(r"<(?:function|class|enum)? ?'?([\w.]+).*>", r"\1", told)


def table(system: str) -> dict[str, Differences]:
    """Read "Signatures that differ": name → ``{(documented, here)}``."""
    page = (DOCS / f"compat_{system}.md").read_text(encoding="utf-8")
    _, _, section = page.partition("\n## Signatures that differ\n")
    found: dict[str, Differences] = {}
    for line in section.partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `"):
            difference = tuple(cell.strip("`") for cell in cells[1:3])
            for name in re.findall(r"`([\w.]+)`", cells[0]):
                found.setdefault(name, set()).add(difference)  # type: ignore[arg-type]
    return found


def check_module(name: str, facts: dict[str, Any]) -> None:
    """Import a module by both names, and find each of its names in every way."""
    module = importlib.import_module(name)
    assert importlib.import_module(f"mho.compat.{name}") is module
    stars: dict[str, Any] = {}
    exec(f"from {name} import *", stars)
    for key, told in facts.items():
        one: dict[str, Any] = {}
        exec(f"from {name} import {key}", one)
        assert one[key] is stars[key] is getattr(module, key), key
        if isinstance(told, str) and told.startswith("from "):
            source = importlib.import_module(told.removeprefix("from "))
            assert getattr(source, key) is one[key], key


def check_function(module: str, path: str, told: str, allowed: Differences) -> None:
    """Compare one function with its facts, but for the differences that are documented."""
    around = importlib.import_module(module)
    wanted = told_parameters(told, around)
    thing: Any = around
    for part in path.split("."):
        thing = getattr(thing, part)
    if thing is not object.__init__:
        _compare(path, differences(wanted, parameters(thing)), allowed)
    if path.endswith(".__init__"):  # as it is called, too
        kind = getattr(around, path.partition(".")[0])
        _compare(path, differences(wanted[1:], parameters(kind)), allowed)


def _compare(path: str, found: Differences, allowed: Differences) -> None:
    assert found == allowed, (
        f"{path}: (documented, here) differ in {found - allowed or NOTHING}; "
        f'in "Signatures that differ" and no longer so: {allowed - found or NOTHING}'
    )


def parameters(thing: Any) -> Parameters:
    """Return the parameters of something callable."""
    return list(inspect.signature(thing).parameters.values())


def check_value(module: str, name: str, told: str, allowed: Differences) -> None:
    """Compare a value (``"value …"`` says that there is one, and nothing of it)."""
    around = importlib.import_module(module)
    found, said = getattr(around, name), told.removeprefix("value ")
    if said == "…":
        assert len(found)
        return
    wanted = evaluate(said, around)
    assert type(found) is type(wanted)
    if wanted != {}:  # a registry, which is filled from outside
        _compare(name, {(said, str(found))} if found != wanted else set(), allowed)


def check_class(module: str, name: str, facts: dict[str, Any]) -> None:
    """Compare a class's bases and values."""
    around = importlib.import_module(module)
    kind = getattr(around, name)
    assert inspect.isclass(kind)
    for base in facts["class"]:
        assert issubclass(kind, evaluate(base, around)), base
    for value, told in facts["values"].items():
        found = getattr(kind, value)
        if told == "auto()":
            assert isinstance(found, kind)
        elif told != "None":  # such as the one object, when there is one
            wanted = evaluate(told, around)
            assert (set(wanted) <= set(found)) if isinstance(wanted, dict) else (wanted == found)
    if "Enum" in facts["class"]:
        assert {member.value for member in kind} == set(range(1, len(facts["values"]) + 1))


def attributes(system: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yield module, name and attributes (the bases' too) of every class whose objects have any."""
    known = {name: facts for _, name, facts in classes(system)}

    def of(name: str) -> set[str]:
        facts = known[name]
        bases = (of(base) for base in facts["class"] if base in known)
        return set(facts["attributes"]).union(*bases)

    for module, name, _ in classes(system):
        if of(name):
            yield module, name, of(name)


def missing(made: Any, attributes: set[str]) -> list[str]:
    """List what a fresh object has not, of what it had."""
    return [name for name in sorted(attributes) if not hasattr(made, name)]
