"""Layers that compute through crossbars."""

from mho.nn import adapters
from mho.nn.base import AnalogLayer
from mho.nn.cells import GRUCell, LSTMCell, RNNCell
from mho.nn.conv import Conv1d, Conv2d, Conv3d
from mho.nn.embedding import Embedding, EmbeddingBag
from mho.nn.linear import Linear
from mho.nn.recurrent import GRU, LSTM, RNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "AnalogLayer",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Embedding",
    "EmbeddingBag",
    "GRUCell",
    "LSTMCell",
    "Linear",
    "RNNCell",
    "adapters",
]
