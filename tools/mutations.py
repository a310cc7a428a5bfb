"""Small faults: where they can be planted, and planting one into a running process.

Only code inside functions is mutated: what a module computes on import has been computed before the
fork. Within functions, annotations, what is raised, warned or printed (`PRINTING`) and asserts are
left out: they say something, they decide nothing. Mutants known to be equivalent are listed with
their reasons in `mutants.yaml`.
"""

from __future__ import annotations

import ast
import difflib
import gc
import json
import types
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = yaml.safe_load((ROOT / "tools" / "mutants.yaml").read_text())

# One or two replacements of each kind: the rest of Cosmic Ray's are variants of these, or, like
# `is` for `==`, mostly change nothing.
OPERATORS = [
    *(
        f"ReplaceBinaryOperator_{pair}"
        for pair in (
            *("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Mul", "Pow_Mul"),
            *("BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitOr", "LShift_RShift", "RShift_LShift"),
        )
    ),
    *(
        f"ReplaceComparisonOperator_{pair}"
        for pair in (
            *("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt"),
            *("Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt", "Is_IsNot", "IsNot_Is"),
        )
    ),
    *("ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Invert"),
    *("ReplaceUnaryOperator_Delete_Not", "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue"),
    *("ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceBreakWithContinue"),
    *("ReplaceContinueWithBreak", "NumberReplacer", "ZeroIterationForLoop"),
]

PRINTING = ("__repr__", "__str__", "extra_repr")
LARGE = 1e6  # numbers from here on moved by one are the same numbers

Mutant = tuple[Path, str, int, int]  # file, operator, which of its places, line


def silent(node: ast.AST) -> bool:
    """Whether what this node holds decides nothing: messages, printing, annotations."""
    if isinstance(node, ast.Raise | ast.Assert):
        return True
    if isinstance(node, ast.FunctionDef):
        return node.name in PRINTING
    return isinstance(node, ast.Call) and "warn" in ast.unparse(node.func)


def left_out(tree: ast.Module) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Spans of source (from, to; line and column) in which nothing is mutated."""
    nodes = [node for node in ast.walk(tree) if silent(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            nodes += [argument.annotation for argument in arguments if argument.annotation]
            nodes += [default for default in node.args.defaults + node.args.kw_defaults if default]
            nodes += [*node.decorator_list, *([node.returns] if node.returns else [])]
        elif isinstance(node, ast.AnnAssign):
            nodes.append(node.annotation)
        elif isinstance(node, ast.FormattedValue) and node.format_spec:
            nodes.append(node.format_spec)
    return [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in nodes]


def function_bodies(tree: ast.Module) -> list[tuple[int, int]]:
    """First and last lines of the bodies of functions."""
    return [
        (node.body[0].lineno, node.end_lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]


def places(path: Path) -> Iterator[Mutant]:
    """All mutants of a file, as (file, operator, which of its places, line)."""
    source = path.read_text()
    tree = ast.parse(source)
    spans, bodies = left_out(tree), function_bodies(tree)
    nodes = list(ast_nodes(get_ast(source)))
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        found = [(at, node) for node in nodes for at in operator.mutation_positions(node)]
        for index, ((start, _), node) in enumerate(found):
            if node.type == "number" and abs(complex(ast.literal_eval(node.value))) >= LARGE:
                continue
            inside = any(first <= start[0] <= last for first, last in bodies)
            if inside and not any(low <= start < high for low, high in spans):
                yield path, name, index, start[0]


def change(mutant: Mutant) -> tuple[str, list[str]]:
    """The mutated source, and its difference as lines."""
    path, name, index, _ = mutant
    source = path.read_text()
    mutated = mutate_code(source, get_operator(f"core/{name}")(), index)
    lines = difflib.unified_diff(
        source.splitlines(), mutated.splitlines(), str(path.relative_to(ROOT)), name, lineterm=""
    )
    return mutated, list(lines)


def compiles(source: str) -> bool:
    """Whether a source is a program at all."""
    try:
        compile(source, "", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def again(mutants: list[Mutant], file: Path) -> list[Mutant]:
    """Those of the mutants that survived the run whose results a file holds."""
    missed = [r["difference"] for r in json.loads(file.read_text())["results"] if not noticed(r)]
    heads = {tuple(difference[:2]) for difference in missed}
    likely = [m for m in mutants if (f"--- {m[0].relative_to(ROOT)}", f"+++ {m[1]}") in heads]
    return [mutant for mutant in likely if change(mutant)[1] in missed]


def noticed(result: dict) -> bool:
    """Whether a mutant is none to look at: a test failed, or it is known to change nothing."""
    return result["outcome"] in ("killed", "timeout", "equivalent")


def is_equivalent(mutant: Mutant, difference: list[str]) -> bool:
    """Whether `mutants.yaml` lists the change: by its file, the old line and the new one."""
    old, new = ([s[1:].strip() for s in difference[2:] if s[:1] == sign] for sign in "-+")
    return any(
        ROOT / known["file"] == mutant[0] and [known["line"]] == old and [known["becomes"]] == new
        for known in SETTINGS["equivalent"]
    )


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """All code objects within one."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def named(source: str, path: Path) -> dict[tuple[str, int, int], types.CodeType]:
    """All code objects of a source, by name, line and which of that name in the line."""
    found, seen = {}, Counter()
    for code in codes(compile(source, str(path), "exec", dont_inherit=True)):
        head = code.co_name, code.co_firstlineno
        found[(*head, seen[head])] = code
        seen[head] += 1
    return found


def plant(path: Path, source: str) -> None:
    """Give every live function of a file the code that `source` has for it.

    Raises:
        RuntimeError: if no function would change.
    """
    new = named(source, path)
    changes = {old: new[name] for name, old in named(path.read_text(), path).items() if name in new}
    changed = False
    for found in gc.get_objects():
        if isinstance(found, types.FunctionType) and found.__code__.co_filename == str(path):
            old = found.__code__
            code = changes.get(old, old)
            if code != old and code.co_freevars == old.co_freevars:
                found.__code__ = code
                changed = True
    if not changed:
        raise RuntimeError("the mutant is in no function that lives")
