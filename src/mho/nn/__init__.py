"""Layers that compute through crossbars."""

from mho.nn import adapters
from mho.nn.attention import MultiheadAttention
from mho.nn.base import AnalogLayer
from mho.nn.bilinear import Bilinear
from mho.nn.cells import GRUCell, LSTMCell, RNNCell
from mho.nn.conv import Conv1d, Conv2d, Conv3d
from mho.nn.conv1d_hf import Conv1D
from mho.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from mho.nn.embedding import Embedding, EmbeddingBag
from mho.nn.linear import Linear
from mho.nn.recurrent import GRU, LSTM, RNN
from mho.nn.registry import register, registered

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "AnalogLayer",
    "Bilinear",
    "Conv1D",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Embedding",
    "EmbeddingBag",
    "GRUCell",
    "LSTMCell",
    "Linear",
    "MultiheadAttention",
    "RNNCell",
    "adapters",
    "register",
    "registered",
]
