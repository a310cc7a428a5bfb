"""Recurrent layers."""
# ruff: noqa: N999
# mypy: disable-error-code="misc, override, assignment"

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from mho.compat.memtorch.mn import _layer
from mho.compat.memtorch.mn.Linear import Linear
from mho.recurrence.form import Form
from mho.recurrence.layout import Sequences
from mho.recurrence.runner import run

# What holds for the layers of all weights, whenever it is set.
_SWITCHES = ("non_linear", "simulate", "forward_legacy_enabled", "cuda_malloc_heap_size")
_PASSED_ON = (*_layer.SETTINGS, *_SWITCHES)
_NOT_PASSED_ON = ("self", "rnn_layer", "args", "kwargs")


class RNN(nn.RNN):
    """A recurrent layer whose weights are on crossbars, two for each layer and direction.

    Args: ``rnn_layer`` is what it stands for; for the others see `patch_model`.

    Attributes:
        arrays: the memristive `Linear` layers of all weights, by their names in `torch.nn.RNN`.
        w_ih: those of the inputs, a list with one for each of the stacked layers; likewise
            ``w_hh`` of hidden states, and ``w_ih_reverse`` and ``w_hh_reverse`` of the other
            direction (empty where there is none).
        b_ih: their biases (None without bias); likewise ``b_hh`` and so on.
        device: where the crossbars are; assigning moves the layer.
        return_hidden: whether ``forward`` returns ``(output, h_n)`` as `torch.nn.RNN` does, rather
            than the output alone; `patch_model` asks for it.
    """

    digital = nn.RNN
    device = property(lambda self: self.w_ih[0].device, lambda self, where: self.to(where))
    __init__ = _layer.constructor("rnn_layer")
    w_ih = property(lambda self: self._of_each_layer("ih", self._array))
    w_hh = property(lambda self: self._of_each_layer("hh", self._array))
    w_ih_reverse = property(lambda self: self._of_each_layer("ih_reverse", self._array))
    w_hh_reverse = property(lambda self: self._of_each_layer("hh_reverse", self._array))
    b_ih = property(lambda self: self._of_each_layer("ih", self._bias))
    b_hh = property(lambda self: self._of_each_layer("hh", self._bias))
    b_ih_reverse = property(lambda self: self._of_each_layer("ih_reverse", self._bias))
    b_hh_reverse = property(lambda self: self._of_each_layer("hh_reverse", self._bias))

    def _patch(self, name: str, given: Mapping[str, Any]) -> None:
        rnn_layer = given[name]
        names: Any = getattr(rnn_layer, "_flat_weights_names", ())  # of pruned weights, too
        _layer.take_over(self, name, rnn_layer, nn.RNN, names)
        _layer.take_settings(self, given)
        chosen = {name: value for name, value in given.items() if name not in _NOT_PASSED_ON}
        self.return_hidden = False
        self.arrays = nn.ModuleDict()
        for name in [name for name in names if "weight" in name]:
            weight: Tensor = getattr(self, name)
            blank = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
            blank.weight = weight
            self.arrays[name] = array = Linear(blank, **chosen, legacy=self.legacy)
            array.lent = True
            array.bias = self._bias(name.removeprefix("weight_"))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        arrays: Any = self._modules.get("arrays") or {}
        if name in _PASSED_ON:
            for array in arrays.values():
                setattr(array, name, value)
        kind, _, part = name.partition("_")
        if kind in ("weight", "bias") and f"weight_{part}" in arrays:
            setattr(arrays[f"weight_{part}"], kind, value)

    def _array(self, part: str) -> Any:
        return self.arrays[f"weight_{part}"]

    def _bias(self, part: str) -> Any:
        return getattr(self, f"bias_{part}", None)

    def _of_each_layer(self, end: str, find: Callable[[str], Any]) -> list[Any]:
        product, _, way = end.partition("_")
        count = 0 if way and not self.bidirectional else self.num_layers
        return [find(f"{product}_l{n}{'_reverse' * bool(way)}") for n in range(count)]

    def forward(self, input: Sequences, h_0: Tensor | None = None) -> Any:
        """Run a sequence.

        Args:
            input: ``[time, batch, features]`` (``[batch, time, features]`` if ``batch_first``, and
                without a batch ``[time, features]``), or packed.
            h_0: hidden states at first, ``[layers · directions, batch, hidden]``, or with the
                directions as a dimension of their own before the layers; 0 if not given.

        Returns:
            The last layer's outputs; with ``return_hidden`` also the last hidden states.
        """
        if h_0 is not None and h_0.dim() == 4:
            h_0 = h_0.transpose(0, 1).flatten(0, 1)
        product = lambda part, x: self._array(part)(x)  # noqa: E731
        output, (h_n,) = run(Form.of(self), input, h_0, product, training=self.training)
        if isinstance(output, Tensor):
            output = output.contiguous()
        return (output, h_n) if self.return_hidden else output

    def tune(self) -> None:
        """Tune the layers of all weights."""
        for array in self.arrays.values():
            array.tune()  # type: ignore[operator]

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        _layer.keep_beside(destination, prefix, self._shapes())

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *others: Any
    ) -> None:
        with _layer.telling(self, prefix, local_metadata.get(_layer.BESIDE) == self._shapes()):
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)

    def _shapes(self) -> list[list[int]]:
        arrays: Any = self.arrays.values()
        return [list(c.conductance_matrix.shape) for array in arrays for c in array.crossbars]

    def __str__(self) -> str:
        return (
            f"bh.RNN(input_size={self.input_size}, hidden_size={self.hidden_size}, "
            f"num_layers={self.num_layers}, nonlinearity={self.nonlinearity}, bias={self.bias}, "
            f"bidirectional={self.bidirectional})"
        )
