"""Orders of sets, which are other ones in every process, decide no result."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import mho

SOURCE = Path(mho.__file__).parents[1]
HERE = Path(__file__).parent
NAMES = ("set", "frozenset")
METHODS = ("union", "intersection", "difference", "symmetric_difference")
ORDERED = (
    "list",
    "tuple",
    "enumerate",
    "zip",
    "map",
    "iter",
    "next",
    "max",
    "min",
    "join",
    "extend",
)
# Where a set is gone through and its order decides nothing.
EXCEPT = {
    ("mho/chip/mapping.py", "_layer"): "asks whether any",
    ("mho/chip/mapping.py", "cores_used"): "counts",
    ("mho/chip/tiles.py", "joined"): "sorts",
    ("mho/fit/reading/files.py", "check_cycles"): "least of numbers",
    ("mho/nn/stale.py", "warn_if_stale"): "asks whether any; sorts",
    ("mho/plot/crossbar.py", "_tile_borders"): "numbers; lines of one colour",
    ("mho/runs/pool.py", "_begin"): "asks whether any",
    ("mho/train/checkpoint.py", "_take"): "deletes each",
    ("mho_cli/machine.py", "_extras"): "sorts",
}


def is_set(node, known):
    if isinstance(node, (ast.Set, ast.SetComp)):
        return True
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", "") in NAMES or getattr(node.func, "attr", "") in METHODS
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd, ast.Sub)):
        keys = [
            getattr(getattr(n, "func", None), "attr", "") == "keys" for n in (node.left, node.right)
        ]
        return any(keys) or is_set(node.left, known) or is_set(node.right, known)
    return isinstance(node, ast.Name) and node.id in known


def sets_of(function):
    """Names of a function that hold sets."""
    known = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and is_set(node.value, known):
            known |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        told = getattr(node, "annotation", None)
        if told is not None and ast.unparse(told).startswith(("set[", "frozenset[")):
            known.add(
                getattr(node, "arg", None) or getattr(getattr(node, "target", None), "id", "")
            )
    return known


def goes_through(node, known):
    if isinstance(node, ast.For):
        return is_set(node.iter, known)
    if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
        return any(is_set(part.iter, known) for part in node.generators)
    if isinstance(node, ast.Starred):
        return is_set(node.value, known) and not isinstance(node.ctx, ast.Store)
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        return name in ORDERED and any(is_set(argument, known) for argument in node.args)
    return False


def found():
    places = set()
    for path in sorted(p for room in ("mho", "mho_cli") for p in (SOURCE / room).rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                known = sets_of(function)
                # What is sorted, or made a set again, has no order of its own.
                free = {
                    id(inner)
                    for call in ast.walk(function)
                    if isinstance(call, ast.Call)
                    and getattr(call.func, "id", "") in ("sorted", *NAMES)
                    for inner in call.args
                }
                if any(
                    goes_through(node, known) and id(node) not in free
                    for node in ast.walk(function)
                ):
                    places.add((str(path.relative_to(SOURCE)), function.name))
    return places


def test_no_set_is_gone_through_in_its_own_order():
    assert sorted(found() - EXCEPT.keys()) == []


def digests(seed):
    paths = os.pathsep.join((str(SOURCE), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, str(HERE / "hash_seeds.py")],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_a_chip_s_life_is_the_same_whatever_the_hash_seed():
    one, two = map(digests, "01")
    assert len(one) == 9
    assert one == two
