"""One time step of torch's recurrent cells, from their two products to the next state."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

State = tuple[Tensor, ...]
"""Hidden state ``(h,)``, or ``(h, c)`` of an LSTM."""

Step = Callable[[Tensor, Tensor, State], State]
"""From both products (biases included) and the state to the next state."""


def tanh_step(inputs: Tensor, hidden: Tensor, state: State) -> State:
    """``h' = tanh(x W_ihᵀ + h W_hhᵀ)``, biases included; all ``[..., hidden_size]``."""
    return (torch.tanh(inputs + hidden),)


def relu_step(inputs: Tensor, hidden: Tensor, state: State) -> State:
    """``h' = max(0, x W_ihᵀ + h W_hhᵀ)``, biases included; all ``[..., hidden_size]``."""
    return (torch.relu(inputs + hidden),)


def lstm_step(inputs: Tensor, hidden: Tensor, state: State) -> State:
    """``c' = σ(f)·c + σ(i)·tanh(g)``, ``h' = σ(o)·tanh(c')``.

    ``(i, f, g, o)`` are the quarters of ``inputs + hidden [..., 4 · hidden_size]``.
    """
    i, f, g, o = (inputs + hidden).chunk(4, -1)
    c = torch.addcmul(torch.sigmoid(f) * state[1], torch.sigmoid(i), torch.tanh(g))
    return torch.sigmoid(o) * torch.tanh(c), c


def gru_step(inputs: Tensor, hidden: Tensor, state: State) -> State:
    """``n = tanh(x_n + σ(r)·h_n)``, ``h' = (1 - σ(z))·n + σ(z)·h``.

    Both products are ``[..., 3 · hidden_size]``, in the order r, z, n. The reset gate ``r``
    scales the hidden product with its bias in it, so the two products are not simply added.
    """
    size = state[0].shape[-1]
    r, z = torch.sigmoid(inputs[..., : 2 * size] + hidden[..., : 2 * size]).chunk(2, -1)
    n = torch.tanh(inputs[..., 2 * size :] + r * hidden[..., 2 * size :])
    return (n + z * (state[0] - n),)


STEPS: dict[str, Step] = {
    "RNN_TANH": tanh_step,
    "RNN_RELU": relu_step,
    "LSTM": lstm_step,
    "GRU": gru_step,
}
"""Steps by the name that torch gives a cell's mode."""
