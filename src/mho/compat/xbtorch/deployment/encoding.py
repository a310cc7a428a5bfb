"""The encodings under their older module name; see `weight_encoding`."""

from mho.compat.xbtorch.deployment.weight_encoding import *  # noqa: F403
from mho.compat.xbtorch.deployment.weight_encoding import encode_simple_binary as encode_simple

__all__ = ["encode_simple"]
