"""What a model multiplies by what: products with parameters, wherever these are used.

A model is run once on sample inputs, on tensors that have shapes and no memory, while every
operation is watched as it is dispatched. What is made of parameters alone (a transpose, a slice, a
cast, a norm of a weight) keeps their names; what comes of an input is an activation. A product of
an activation with something that has names is one of those parameters'. Inputs of a layer that can
lie on crossbars are activations, were they parameters (learned queries); what an activation picks
of a parameter (an expert of many) or scales of it keeps the parameter's name.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from mho.model.inputs import call_of
from mho.model.lifecycle import collapse
from mho.model.sizes import on_meta
from mho.nn.base import AnalogLayer
from mho.nn.registry import BY_OPTION, crossbar_layer


@dataclass(frozen=True)
class Product:
    """A parameter (or a matrix in a buffer) that a model multiplies with what it is given.

    Attributes:
        name: of the parameter; of several that make one operand, all, with ``" + "`` between.
        operation: by which torch function.
        macs: multiply–accumulates of one call of the model.
        uses: how many times in one call.
        where: the innermost module at work then; the model itself is ``""``.
    """

    name: str
    operation: str
    macs: int
    uses: int = 1
    where: str = ""


@dataclass(frozen=True)
class Trace:
    """What `trace` returns.

    Attributes:
        products: of parameters with activations, in the order of their first use.
        between: multiply–accumulates of activations with one another (attention).
        aliases: all names of every parameter that has several.
        aside: parameters that are added to what the model is given, or scale it, and are in no
            product: positions, decay rates.
        lookups: how many entries of a table are looked up, or bags, by the parameter's name.
    """

    products: tuple[Product, ...]
    between: int = 0
    aliases: Mapping[str, frozenset[str]] = field(default_factory=dict)
    aside: frozenset[str] = frozenset()
    lookups: Mapping[str, int] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        """Multiply–accumulates with parameters."""
        return sum(product.macs for product in self.products)

    def within(self, layers: set[str]) -> int:
        """Multiply–accumulates with parameters of these modules, by name."""
        return sum(p.macs for p in self.products if self.belongs(p, layers))

    def looked_up(self, table: str) -> int:
        """How many lookups of a table there are, by its module's name."""
        return sum(
            n
            for name, n in self.lookups.items()
            if any(table in _above(alias)[:-1] for alias in self.aliases.get(name, {name}))
        )

    def belongs(self, product: Product, layers: set[str]) -> bool:
        """Whether a product's parameters all are of one of these modules, which is at work."""
        at_work = {path for path in _above(product.where) if path in layers}
        return self._of(product, at_work)

    def passed_by(self, layers: set[str]) -> list[Product]:
        """Products with parameters of these modules that something else works out."""
        return [p for p in self.products if self._of(p, layers) and not self.belongs(p, layers)]

    def _of(self, product: Product, layers: set[str]) -> bool:
        return all(
            any(layers.intersection(_above(alias)) for alias in self.aliases.get(name, {name}))
            for name in product.name.split(" + ")
        )


def _above(path: str) -> list[str]:
    """Return a module's path and those of all that hold it; of a parameter likewise."""
    parts = path.split(".") if path else []
    return [".".join(parts[:i]) for i in range(len(parts) + 1)]


def trace(model: nn.Module, inputs: Any) -> Trace:
    """Find what a model multiplies with its parameters in one call.

    Args:
        model: any model; of a converted one the torch model it stands for is traced.
        inputs: of one call, as `mho.model.inputs.call_of` takes them. Tensors of the meta
            device will do.

    Raises:
        RuntimeError: if the model cannot run on them; the cause is chained.
    """
    inputs = call_of(inputs, model)
    if any(isinstance(module, AnalogLayer) for module in model.modules()):
        model = collapse(model)
    try:
        return _traced(on_meta(model).eval(), to_meta(inputs))
    except Exception:
        # What looks at values of tensors cannot run without any.
        if any(p.is_meta for p in model.parameters()):
            raise
    with torch.random.fork_rng():
        return _traced(copy.deepcopy(model).eval(), inputs)


def to_meta(inputs: Any) -> Any:
    """Return inputs without memory."""
    inputs = dict(inputs) if isinstance(inputs, Mapping) else inputs
    return tree_map(lambda x: x.to("meta") if isinstance(x, Tensor) else x, inputs)


def call(model: nn.Module, inputs: Any) -> Any:
    """Call a model with inputs as `trace` takes them."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(inputs)


def _traced(model: nn.Module, inputs: Any) -> Trace:
    named: list[tuple[str, Tensor]] = list(model.named_parameters(remove_duplicate=False))
    named += [(name, b) for name, b in model.named_buffers() if is_matrix(b)]
    names: dict[Tensor, list[str]] = {}
    for name, parameter in named:
        names.setdefault(parameter, []).append(name)
    watch = _Watch({parameter: all_of[0] for parameter, all_of in names.items()}, inputs)
    for name, module in model.named_modules():
        module.register_forward_pre_hook(partial(watch.enter, name))
        module.register_forward_hook(watch.leave, always_call=True)
        if crossbar_layer(module) is not None and not isinstance(module, BY_OPTION):
            module.register_forward_pre_hook(watch.given, with_kwargs=True)
    with torch.no_grad(), _plain_kernels(), watch.functions, watch:
        call(model, inputs)
    aliases = {v[0]: frozenset(v) for v in names.values() if len(v) > 1}
    products = tuple(watch.products.values())
    multiplied = {name for product in products for name in product.name.split(" + ")}
    aside = frozenset(watch.met - multiplied)
    return Trace(products, watch.between, aliases, aside, watch.lookups)


def is_matrix(x: Tensor) -> bool:
    """Whether a tensor holds numbers in more than one row and more than one column."""
    return x.is_floating_point() and sum(size > 1 for size in x.shape) > 1


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Keep torch from fusing whole layers into one operation."""
    with ExitStack() as stack:
        stack.callback(torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled())
        torch._C._set_mkldnn_enabled(False)
        before = torch.backends.mha.get_fastpath_enabled()
        stack.callback(torch.backends.mha.set_fastpath_enabled, before)
        torch.backends.mha.set_fastpath_enabled(False)
        yield


class _Functions(TorchFunctionMode):
    """Remembers which torch function is at work, as users call it."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before, self.name = self.name, self.name or getattr(func, "__name__", str(func))
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.name = before


class _Watch(TorchDispatchMode):
    """Follows parameters and inputs through all operations."""

    def __init__(self, names: Mapping[Tensor, str], inputs: Any) -> None:
        super().__init__()
        self.functions = _Functions()
        self.products: dict[tuple[str, str], Product] = {}
        self.lookups: dict[str, int] = {}
        self._at_work = [""]
        self.between = 0
        self.met: set[str] = set()  # parameters that activations meet elsewhere than in products
        self._names: Any = WeakTensorKeyDictionary()  # of tensors made of parameters alone
        self._live: Any = WeakTensorKeyDictionary()  # what comes of inputs
        self._buffers = {n for x, n in names.items() if not isinstance(x, nn.Parameter)}
        self._picked: Any = WeakTensorKeyDictionary()  # names of what these pick of a parameter
        for tensor, name in names.items():
            self._names[tensor] = (name,)
        for tensor in (x for x in tree_flatten(inputs)[0] if isinstance(x, Tensor)):
            self._live[tensor] = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [x for x in tree_flatten((args, kwargs or {}))[0] if isinstance(x, Tensor)]
        made = [x for x in tree_flatten(result)[0] if isinstance(x, Tensor)]
        operands = _operands(func, args, made[0]) if made else None
        if operands is not None:
            self._count(func, *operands)
        if any(x in self._live for x in given):
            for x in made:
                self._live[x] = True
            if func._schema.is_mutable and given:
                self._live[given[0]] = True
            if operands is None:
                self._meet(_name(func), given, made)
        else:
            names = dict.fromkeys(n for x in given for n in self._names.get(x, ()))
            for x in made if names else ():
                self._names[x] = tuple(names)
        return result

    def enter(self, path: str, *_: Any) -> None:
        """Note that a module begins."""
        self._at_work.append(path)

    def leave(self, *_: Any) -> None:
        """Note that the last module that began has ended."""
        self._at_work.pop()

    def given(self, _: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Take what a layer is given for an activation, though it be a parameter."""

        def alive(x: Any) -> Any:
            if not isinstance(x, Tensor) or x in self._live or x not in self._names:
                return x
            x = x.view_as(x)
            self._live[x] = True
            return x

        return tree_map(alive, args), tree_map(alive, kwargs)

    def _meet(self, name: str, given: list[Tensor], made: list[Tensor]) -> None:
        """Note which parameters an activation meets, or picks from, without a product."""
        still = [x for x in given if x in self._names and x not in self._live]
        if name in _LOOKUPS:
            for n in (n for x in still[:1] for n in self._names[x]):
                count = made[0].numel() // max(made[0].shape[-1], 1)
                self.lookups[n] = self.lookups.get(n, 0) + count
            return
        if name not in _PICKS:
            self.met.update(n for x in still for n in self._names[x])
        kept: dict[str, None] = {}
        if name in _PICKS or name in _SCALES:
            kept.update(dict.fromkeys(n for x in still if is_matrix(x) for n in self._names[x]))
        if name in _VIEWS or name in _SCALES:
            kept.update(dict.fromkeys(n for x in given for n in self._picked.get(x, ())))
        for x in made if kept else ():
            self._picked[x] = tuple(kept)

    def _count(self, func: Any, left: Tensor, right: Tensor, macs: int) -> None:
        owners = [self._names[x] for x in (left, right) if x in self._names and x not in self._live]
        if len(owners) == 2:  # a weight that is computed
            return
        picked = [self._picked[x] for x in (left, right) if x in self._picked]
        if not owners and len(picked) == 1:
            owners = picked
        if not owners:
            self.between += macs
            return
        of = [n for n in owners[0] if n not in self._buffers] or owners[0]  # a mask is no weight
        name = " + ".join(of)
        operation = self.functions.name.strip("_") or _name(func)
        where = self._at_work[-1]
        known = self.products.get((name, where))
        total, uses = (macs, 1) if known is None else (known.macs + macs, known.uses + 1)
        operation = operation if known is None else known.operation
        self.products[name, where] = Product(name, operation, total, uses, where)


_LOOKUPS = ("embedding", "_embedding_bag", "_embedding_bag_forward_only")
_PICKS = ("index", "index_select", "gather", "take_along_dim")
_SCALES = ("mul", "div")
_VIEWS = (
    *("view", "_unsafe_view", "reshape", "transpose", "permute", "t", "unsqueeze", "squeeze"),
    *("expand", "slice", "select", "split", "unbind", "alias", "detach", "clone", "_to_copy"),
)
_PLAIN = (
    *("mm", "bmm", "mv", "dot", "vdot", "_int_mm", "_scaled_mm"),
    *("_grouped_mm", "grouped_mm_fallback"),  # of experts
)


def _name(func: Any) -> str:
    name: str = func._schema.name.split("::")[-1]
    return name


def _operands(func: Any, args: Any, made: Tensor) -> tuple[Tensor, Tensor, int] | None:
    """Return the factors of a product and its multiply–accumulates; None of other operations."""
    name = _name(func)
    if name in _PLAIN:
        return args[0], args[1], made.numel() * args[0].shape[-1]
    if name in ("addmm", "baddbmm", "addmv"):
        return args[1], args[2], made.numel() * args[1].shape[-1]
    if name == "addbmm":
        return args[1], args[2], made.numel() * args[1].shape[-1] * len(args[1])
    if name in ("convolution", "_convolution", "convolution_overrideable"):
        kernel = math.prod(args[1].shape[1:])
        turned = bool(args[6])  # every input meets a whole kernel
        return args[0], args[1], kernel * (args[0] if turned else made).numel()
    if name.startswith("_scaled_dot_product"):
        # query · key, and as much again for the values
        return args[0], args[1], 2 * made.numel() * args[1].shape[-2]
    if name == "_trilinear":
        return args[0], args[1], args[1].numel() * (args[0].numel() // args[0].shape[-1])
    return None
