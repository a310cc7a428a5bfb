"""Exported programs (`torch.export`) with layers again, so that they can go on crossbars.

An exported program calls ``aten.linear`` or ``aten.conv2d`` on weights that it reads; `mho.convert`
looks for modules. Here every such call becomes the module that it once was.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from torch import Tensor, fx, nn, ops
from torch.export import ExportedProgram

_CONVOLUTIONS = {
    ops.aten.conv1d.default: nn.Conv1d,
    ops.aten.conv1d.padding: nn.Conv1d,
    ops.aten.conv2d.default: nn.Conv2d,
    ops.aten.conv2d.padding: nn.Conv2d,
    ops.aten.conv3d.default: nn.Conv3d,
    ops.aten.conv3d.padding: nn.Conv3d,
}


def layered(program: ExportedProgram) -> nn.Module:
    """Return an exported program as a module whose products with weights are layers.

    Linear products and convolutions become `torch.nn.Linear`, `torch.nn.Conv1d`, `torch.nn.Conv2d`
    and `torch.nn.Conv3d`, named as they were; weights that several share stay one. All else, as
    recurrent layers and transposed convolutions, stays a call, and so digital.

    Args:
        program: exported in ``eval()`` mode.
    """
    held: Any = program.module()
    made: dict[Any, str] = {}
    for node in [n for n in held.graph.nodes if n.target in _KNOWN]:
        given = _arguments(node)
        if not _is_read(given["weight"]) or not _is_read(given["bias"] or given["weight"]):
            continue  # weights are worked out: by a parametrization, say
        # The same weights with the same settings are one layer that is called twice.
        key = (node.target, *(str(value) for name, value in given.items() if name != "input"))
        if key not in made:
            made[key] = _add(held, node, given)
        with held.graph.inserting_before(node):
            call = held.graph.call_module(made[key], (given["input"],))
        node.replace_all_uses_with(call)
        held.graph.erase_node(node)
    held.graph.eliminate_dead_code()
    # A new module, as that of an export refuses train() and eval().
    return fx.GraphModule(held, held.graph).eval()


_KNOWN = {ops.aten.linear.default, *_CONVOLUTIONS}


def _arguments(node: fx.Node) -> dict[str, Any]:
    target: Any = node.target
    arguments = target._schema.arguments
    given = {one.name: one.default_value for one in arguments if one.has_default_value()}
    names = [one.name for one in arguments]
    return {**given, **dict(zip(names, node.args, strict=False)), **node.kwargs}


def _is_read(value: Any) -> bool:
    return isinstance(value, fx.Node) and value.op == "get_attr"


def _add(held: nn.Module, node: fx.Node, given: dict[str, Any]) -> str:
    weight: Tensor = attrgetter(given["weight"].target)(held)
    bias = given["bias"] and attrgetter(given["bias"].target)(held)
    layer = _layer(node, weight, bias is not None, given)
    layer.weight, layer.bias = _parameter(weight), _parameter(bias)
    name = _name(held, given["weight"].target)
    held.set_submodule(name, layer)
    return name


def _layer(node: fx.Node, weight: Tensor, bias: bool, given: dict[str, Any]) -> Any:
    made: dict[str, Any] = {"bias": bias, "device": "meta"}
    if node.target not in _CONVOLUTIONS:
        return nn.Linear(weight.shape[1], weight.shape[0], **made)
    size = tuple(weight.shape[2:])
    for name in ("stride", "padding", "dilation"):
        value = given[name]
        made[name] = tuple(value) * (len(size) // len(value)) if isinstance(value, list) else value
    groups = given["groups"]
    kind: Any = _CONVOLUTIONS[node.target]
    return kind(weight.shape[1] * groups, weight.shape[0], size, groups=groups, **made)


def _parameter(value: Tensor | None) -> nn.Parameter | None:
    if value is None or isinstance(value, nn.Parameter):
        return value
    return nn.Parameter(value, requires_grad=False)


def _name(held: nn.Module, weight: str) -> str:
    # The layer's own name, unless more than a layer stands there: attention's first weights do.
    owner, _, last = weight.rpartition(".")
    if owner and last == "weight":
        module = held.get_submodule(owner)
        tensors = {name for name, _ in module.named_parameters()} | dict(
            module.named_buffers()
        ).keys()
        if type(module) is nn.Module and tensors <= {"weight", "bias"}:
            return owner
    return weight.replace(".", "_").removesuffix("_weight") + "_layer"
