"""Everything public: what the package's modules list, and the methods of what they list."""

import importlib
import inspect
import pkgutil
import re

import mho


def modules(compat=False):
    """Yield all modules of the package; those of the older APIs alone, or without them."""
    for found in pkgutil.walk_packages(mho.__path__, "mho."):
        if (".compat" in found.name) == compat and not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def callables(compat=False):
    """Return functions and methods by qualified name: those of ``__all__``, and of its classes."""
    found = {}
    for module in [mho, *modules(compat)]:
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if inspect.isclass(thing):
                for label, method in inspect.getmembers(thing, callable):
                    own = getattr(method, "__module__", None) or ""
                    if own.startswith("mho.") and (
                        not label.startswith("_") or label == "__init__"
                    ):
                        found[method.__qualname__, own] = method
            elif inspect.isfunction(thing):
                found[thing.__qualname__, thing.__module__] = thing
    return {
        f"{own}.{name}": thing
        for (name, own), thing in found.items()
        if ".compat" in own or not compat
    }


def unchecked_truths(functions):
    """Return functions and parameters said to be ``bool`` of which nothing is asked there."""
    found, walked = [], 0
    for name, function in sorted(functions.items()):
        if "<locals>" in name or not inspect.isfunction(function):
            continue
        try:
            source = inspect.getsource(function)
        except OSError:  # made by `dataclasses`: specs are checked in one place
            continue
        for parameter in inspect.signature(function).parameters.values():
            if str(parameter.annotation) in ("bool", "<class 'bool'>"):
                walked += 1
                if not re.search(rf"truth\(\s*f?[\"'][^\"']*\b{parameter.name}\b", source):
                    found.append(f"{name} {parameter.name}")
    return found, walked
