"""What all crossbar layers share: parameters, the crossbars that hold them, which is read when."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from mho.cells.population import Cells
from mho.cells.unfabricated import Unfabricated
from mho.core import checks, random
from mho.crossbar.checkpoint import LOOKED_AT, kept_own_cells, warn_of_other_cells
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.life import refuse_meta
from mho.crossbar.readout import Readout
from mho.crossbar.report import ProgramReport
from mho.crossbar.undo import all_or_nothing
from mho.hardware import Hardware
from mho.nn import computed, copied, loading, stale

L = TypeVar("L", bound="AnalogLayer")


class AnalogLayer(nn.Module):
    """Base of all layers that compute through crossbars.

    A layer holds what the torch layer it stands for holds, by the same names (parameters, what
    computes weights of them, hooks, attributes), and one `Crossbar` per matrix. In ``train()`` mode
    it reads *through the weights* (`Crossbar.read_through`), in ``eval()`` mode what the chip holds
    (`Crossbar.forward`).

    A subclass says which torch layer it stands for (``kind``), which matrices it stores
    (`matrices`), how to go back (`to_digital`), and its ``forward``, which reads with `read`. It
    looks at each digital tensor once in a call: a parametrization computes it anew every time.

    Class attributes:
        kind: the torch layer.
        left_behind: attributes of the torch layer that are not taken over.
    """

    kind: ClassVar[type[nn.Module]] = nn.Module
    left_behind: ClassVar[tuple[str, ...]] = ("_compiled_call_impl", "_unmoved")
    hardware: Hardware
    read_as_stored: bool = False  # in training, too; see `mho.freeze`
    converted_as: str = ""  # its name in the model that `mho.convert` made, for messages

    @classmethod
    def from_digital(
        cls: type[L],
        digital: nn.Module,
        hardware: Hardware,
        *,
        seed: int = 0,
        memo: dict[int, Any] | None = None,
        program: bool = True,
        cells_dtype: torch.dtype | None = None,
    ) -> L:
        """Build the layer that stands for a torch layer, everything copied, programmed.

        Args:
            digital: the torch layer, or a layer of this class (its digital part is taken); it is
                not changed.
            hardware: what the crossbars are made of.
            seed: of the crossbars; each gets one derived from it.
            memo: of `copy.deepcopy`, so that parameters tied in a model stay tied in its copy.
            program: False fabricates no cells until `program` is called.
            cells_dtype: see `mho.convert`.

        Raises:
            TypeError, ValueError: if the layer cannot be put on crossbars as it is.
        """
        program = checks.truth("program", program)
        layer = blank(cls)
        layer._build(digital, hardware, seed, memo, program=program, cells_dtype=cells_dtype)
        return layer

    def _build(
        self,
        digital: nn.Module,
        hardware: Hardware,
        seed: int,
        memo: dict[int, Any] | None = None,
        **settings: Any,
    ) -> None:
        checks.instance("hardware", hardware, Hardware)
        seed = checks.integer("seed", seed, least=0)
        self.take_over(digital, {} if memo is None else memo)
        self.put_on(hardware, seed, **settings)

    def take_over(self, digital: nn.Module, memo: dict[int, Any]) -> None:
        """Take over all a layer holds but its cells, as a copy; for a `blank` layer.

        Args:
            digital: as in `from_digital`.
            memo: of `copy.deepcopy`. It may know layers of the copy that are still blank.

        Raises:
            TypeError, ValueError: if something cannot be taken over.
        """
        checks.instance("layer", digital, (self.kind, type(self)))
        for parameter in digital.parameters(recurse=False):
            if isinstance(parameter, nn.UninitializedParameter):
                kind = type(digital).__name__
                raise ValueError(
                    f"{kind} has no weights yet: run one batch through the model first"
                )
        computed.refuse_unknown(digital, self._tensors(digital))
        _refuse_patched(digital)
        memo[id(digital)] = self
        # As copy.deepcopy keeps what it has copied: an id must not pass to something else.
        memo.setdefault(id(memo), []).append(digital)
        computed.detach_computed(digital, memo)
        computed.add_properties(self, computed.parametrized_names(digital))
        for name, value in vars(digital).items():
            if name not in self.left_behind:
                vars(self)[name] = copied.copy_of(name, copied.without_cells(value), memo)
        if not isinstance(digital, AnalogLayer):
            self._adopt(digital)

    def put_on(
        self,
        hardware: Hardware,
        seed: int,
        *,
        program: bool = True,
        cells_dtype: torch.dtype | None = None,
    ) -> None:
        """Make the crossbars, and program them.

        Args:
            hardware: what they are made of.
            seed: each gets one derived from it.
            program: False fabricates no cells, until `program` is called. Nor are there any for
                weights on the meta device.
            cells_dtype: see `mho.convert`.

        Raises:
            ValueError: if a weight is not finite.
        """
        program = checks.truth("program", program)
        self.hardware = hardware
        self._synced: dict[str, tuple[int, int]] = {}
        self._warned = False
        guard(self)
        matrices = self.wanted()
        program = program and not any(matrix.is_meta for matrix in matrices.values())
        for name, matrix in matrices.items():
            if not matrix.is_floating_point():
                raise TypeError(f"{name} holds floating numbers, the weights are {matrix.dtype}")
            if hasattr(self, name):
                raise ValueError(f"the layer has a {name!r} of its own: the crossbar's name")
            crossbar = Crossbar(
                *self._matrix_shape(name, matrix),
                hardware,
                seed=random.derive(seed, name),
                groups=self._groups(name),
                dtype=matrix.dtype,
                device=matrix.device,
                fabricated=False,  # `program` does it
                kept_as=cells_dtype,
            )
            crossbar.stands_alone = False
            self.add_module(name, crossbar.train(self.training))
        if program:
            self._write(matrices)  # nothing is to be undone of a layer that is not there yet
        else:
            self._warned = True  # that nothing is programmed is refused, not warned of
            for crossbar in self.crossbars.values():
                crossbar.refresh()  # a compiler cannot do it at the first read

    def _adopt(self, digital: nn.Module) -> None:
        """Add what the torch layer does not say in its attributes (those are here already)."""

    def _tensors(self, digital: nn.Module) -> Sequence[str]:
        """Names of the tensors that the torch layer computes with."""
        return ("weight", "bias")

    def matrices(self) -> dict[str, Tensor]:
        """Return, by crossbar name, the matrices ``[groups · rows, cols]`` of a forward pass.

        Gradients flow to the parameters. What computes weights takes its step, as in a forward
        pass of the torch layer; `wanted` lets it rest.
        """
        raise NotImplementedError

    def wanted(self) -> dict[str, Tensor]:
        """Return the matrices to be stored, as they are now, without gradients."""
        with self.at_rest():
            return self.matrices()

    def at_rest(self) -> AbstractContextManager[None]:
        """Compute weights as they are now, moving nothing of what computes them."""
        return computed.at_rest(self)

    def holds(self, name: str) -> bool:
        """Whether there is a digital tensor of this name; it is not computed for the answer."""
        return computed.holds(self, name)

    def to_digital(self) -> nn.Module:
        """Return the torch layer with the weights as now stored.

        They are plain parameters: what computed the digital weights (a norm, a mask, any
        parametrization) has no part in what the cells hold, and stays behind.
        """
        raise NotImplementedError

    def _groups(self, name: str) -> int:
        return 1

    def _matrix_shape(self, name: str, matrix: Tensor) -> tuple[int, int]:
        return matrix.shape[0] // self._groups(name), matrix.shape[1]

    @property
    def crossbars(self) -> dict[str, Crossbar]:
        """This layer's crossbars by name."""
        return {n: m for n, m in self.named_children() if isinstance(m, Crossbar)}

    @torch.no_grad()
    def program(self) -> dict[str, ProgramReport]:
        """Write the digital weights to the chip.

        Returns:
            What was asked for and what is stored, by crossbar name.

        Raises:
            ValueError: if a weight is not finite; after any error no crossbar has changed.
        """
        matrices = self.wanted()
        with all_or_nothing(self.crossbars[name] for name in matrices):
            return self._write(matrices)

    @torch.no_grad()
    def _write(self, matrices: dict[str, Tensor]) -> dict[str, ProgramReport]:
        for name, matrix in matrices.items():
            refuse_meta(f"weight of {name}", matrix)
            checks.finite(f"weight of {name}", matrix)
        crossbars = self.crossbars
        reports = {name: crossbars[name].program(m) for name, m in matrices.items()}
        self.mark_programmed()
        return reports

    mark_programmed = stale.mark_programmed
    warn_if_stale = stale.warn_if_stale
    _versions = stale.versions
    _apply = stale.apply

    def read(self, name: str, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Read one crossbar (through the weights in training, else what is stored), add a bias."""
        crossbar: Any = self._modules[name]
        self.check_dtype(x)
        if self.training:
            return crossbar.reader.read(x, self.training_readout(name, self.matrices()[name]), bias)
        self.warn_if_stale()
        reader = crossbar._reader
        found = None if reader is None or _hooked(crossbar) else reader.quickly(x, bias)
        return crossbar(x, bias) if found is None else found

    def training_readout(self, name: str, matrix: Tensor) -> Readout:
        """Return what a training read of one crossbar sees; see `Crossbar.read_through`.

        Args:
            name: of the crossbar.
            matrix: its weights, as `matrices` returns them.
        """
        crossbar: Crossbar = getattr(self, name)
        if crossbar.scale.is_meta and not matrix.is_meta:  # weights were assigned to it
            crossbar.arrive(matrix.device)
        ideal = self.hardware.array.wires.ideal
        return crossbar.reader.training_readout(matrix, () if ideal else computed.moved(self))

    @property
    def kind_of_numbers(self) -> torch.dtype | None:
        """The dtype of its parameters, so of its inputs and outputs; None where it has none."""
        return computed.dtype_of(self)

    def check_dtype(self, x: Tensor) -> None:
        """Refuse inputs of another floating dtype than the parameters, as torch's layers do.

        Under ``torch.autocast`` any is taken.

        Raises:
            TypeError: if the dtype is another.
        """
        expected = computed.dtype_of(self)
        if not isinstance(x, Tensor) or x.dtype is expected:
            return
        if expected is None or not x.is_floating_point():
            return
        if not torch.is_autocast_enabled(x.device.type):
            raise TypeError(
                f"input must be {expected}, as the parameters of {type(self).__name__}, got "
                f"{x.dtype}: convert the one or the other, or use torch.autocast"
            )

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        checked = loading.unpack(state_dict, prefix)
        crossbars = self.crossbars
        if checked and len(self._load_state_dict_pre_hooks) == 1:  # the guard: nobody else looks
            state_dict.update((f"{prefix}{name}.{LOOKED_AT}", True) for name in crossbars)
        with loading.unguarded(self, refuse_other_checkpoint) if checked else nullcontext():
            super()._load_from_state_dict(state_dict, prefix, *args)
        self._follow(state_dict, prefix)
        if all(
            (f"{prefix}{name}.G" in state_dict or f"{prefix}{name}.cells.g" in state_dict)
            and not kept_own_cells(crossbar, state_dict, f"{prefix}{name}.")
            for name, crossbar in crossbars.items()
        ):
            # Weights and conductances come from one checkpoint. Which versions that made is looked
            # up later: a tied parameter is loaded once for every layer that has it.
            self._synced = {}

    def _follow(self, state_dict: Any, prefix: str) -> None:
        """Let crossbars leave the meta device where weights were assigned and no cells are."""
        there = next((p.device for p in self._parameters.values() if p is not None), None)
        if there is None or there.type == "meta":
            return
        for name, crossbar in self.crossbars.items():
            if crossbar.scale.is_meta and f"{prefix}{name}.scale" not in state_dict:
                crossbar.arrive(there)

    def __prepare_scriptable__(self) -> None:
        """Called by `torch.jit.script`, which compiles Python's text and does not know it all."""
        raise TypeError(
            f"torch.jit.script cannot compile {type(self).__name__}: use torch.export.export or "
            "torch.jit.trace on the model in eval(), or script mho.collapse(model)"
        )

    def train(self: L, mode: bool = True) -> L:
        """As `torch.nn.Module.train`; notes what the weights were before they are trained.

        A layer that is frozen (`mho.freeze`) stays in ``eval()`` mode.
        """
        self._synced = self._synced or self._versions()
        return super().train(mode and not self.read_as_stored)

    def __deepcopy__(self: L, memo: dict[int, Any]) -> L:
        twin: L = blank(type_before_parametrizations(self), computed.parametrized_names(self))
        memo[id(self)] = twin
        computed.detach_computed(self, memo)
        state = {k: v for k, v in vars(self).items() if k not in self.left_behind}
        twin.__setstate__(copy.deepcopy(state, memo))
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle parametrized layers as well, which torch refuses: their class is made anew."""
        kind, names = type_before_parametrizations(self), computed.parametrized_names(self)
        state = {k: v for k, v in vars(self).items() if k not in self.left_behind}
        hooks = "_load_state_dict_pre_hooks"
        state[hooks] = computed.picklable(state[hooks])
        return blank, (kind, names), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        computed.restore(self)
        self._synced = self._versions()  # a copy has parameters of its own


def _hooked(module: nn.Module) -> bool:
    """Whether something is to be called before, after, or in place of the module's own forward."""
    own = module._forward_hooks or module._forward_pre_hooks
    own = own or module._backward_hooks or module._backward_pre_hooks
    instead = "forward" in vars(module) or module._compiled_call_impl is not None
    return bool(own or instead or _hooked_all())


_hooked_all: Callable[[], bool] = getattr(nn.modules.module, "_has_any_global_hook", lambda: True)


def blank(kind: type[L], parametrized: Sequence[str] = ()) -> L:
    """Return a layer that holds nothing yet.

    Args:
        kind: its class.
        parametrized: names of the tensors that parametrizations, still to be set, compute.
    """
    layer = kind.__new__(kind)
    nn.Module.__init__(layer)
    computed.add_properties(layer, parametrized)
    return layer


def _refuse_patched(digital: nn.Module) -> None:
    """Refuse attributes that would take the place of a crossbar layer's methods."""
    for name in vars(digital):
        own = name in vars(AnalogLayer) and not hasattr(nn.Module, name)
        if name == "forward" or (own and not isinstance(digital, AnalogLayer)):
            raise ValueError(f"its attribute {name!r} would hide the crossbar layer's own")


def guard(module: nn.Module) -> None:
    """Let a module refuse checkpoints of other hardware (`refuse_other_checkpoint`), once."""
    known = module._load_state_dict_pre_hooks.values()
    if not any(getattr(hook, "hook", None) is refuse_other_checkpoint for hook in known):
        module.register_load_state_dict_pre_hook(refuse_other_checkpoint)


def refuse_other_checkpoint(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object
) -> None:
    """Check a whole checkpoint before torch copies any of it, so that a refusal changes nothing.

    A hook for ``register_load_state_dict_pre_hook``.

    Raises:
        ValueError: if a shape or the hardware is another.
    """
    loading.repeat_shared(state_dict, module, prefix, Crossbar)
    parts = module.named_modules(prefix=prefix.rstrip("."), remove_duplicate=False)
    crossbars = {f"{name}.": part for name, part in parts if isinstance(part, Crossbar)}
    entries = loading.grouped(state_dict, crossbars)
    found = [part.mismatch(entries[own], own) for own, part in crossbars.items()]
    for name, part in module.named_modules(prefix=prefix.rstrip(".")):
        if isinstance(part, (Cells, Unfabricated)):  # varies in size; looked at above
            continue
        held = {**part._parameters, **part._buffers}
        for own, value in held.items():
            key = f"{name}.{own}" if name else own
            other = state_dict.get(key)
            if value is None or not isinstance(other, Tensor) or value.shape == other.shape:
                continue
            if own not in part._non_persistent_buffers_set:
                expected, shape = list(value.shape), list(other.shape)
                found.append(f"{key}: expected shape {expected}, found {shape}")
    trouble = [text for text in found if text]
    if trouble:
        raise ValueError("this checkpoint does not fit the model: " + "; ".join(trouble))
    kept = [] if prefix else kept_cells(module, state_dict)  # of parts the whole model has told
    if kept:
        warn_of_other_cells(kept, stacklevel=6)
    layers = loading.reached(module, prefix, AnalogLayer, refuse_other_checkpoint)
    loading.pack(state_dict, list(layers))


def kept_cells(module: nn.Module, state_dict: dict[str, Any], prefix: str = "") -> list[str]:
    """Name the crossbars whose cells a checkpoint leaves as they are: a chip's, not the saved."""
    parts = {n: m for n, m in module.named_modules() if isinstance(m, Crossbar)}
    keys = {name: f"{prefix}{name}." if name else prefix for name in parts}
    return [name for name, part in parts.items() if kept_own_cells(part, state_dict, keys[name])]
