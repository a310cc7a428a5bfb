"""The encodings under their older module name; see `weight_encoding`."""

from mho.compat.xbtorch.deployment.weight_encoding import (
    encode_LEA1,
    encode_LEA2,
    encode_MAO,
    encode_multilevel_differential,
    encode_simple_binary,
    quantize_to_nearest,
)

encode_simple = encode_simple_binary

__all__ = [
    "encode_LEA1",
    "encode_LEA2",
    "encode_MAO",
    "encode_multilevel_differential",
    "encode_simple",
    "encode_simple_binary",
    "quantize_to_nearest",
]
