"""Deployment on inference accelerators."""
# ruff: noqa: F401

from mho.compat import _names
from mho.compat.xbtorch.deployment import base
from mho.compat.xbtorch.deployment.base import (
    ACCELERATOR_REGISTRY,
    Daffodil,
    GenericAccelerator,
    SimpleFixedPoint,
    register_accelerator,
)
from mho.compat.xbtorch.deployment.committee import test_committee
from mho.compat.xbtorch.deployment.correction import (
    CollaborativeLoss,
    add_collaborative_logistic_classifiers,
    dnn_favorable_searching_code,
    test_collaborative,
    train_collaborative,
)
from mho.compat.xbtorch.deployment.mapping import map_random
from mho.compat.xbtorch.deployment.metrics import compute_error, error_mapping
from mho.compat.xbtorch.deployment.weight_encoding import (
    encode_LEA1,
    encode_LEA2,
    encode_MAO,
    encode_multilevel_differential,
    encode_simple_binary,
)

_names.lend(base, encode_LEA1, encode_LEA2)

__all__ = [
    "CollaborativeLoss",
    "Daffodil",
    "SimpleFixedPoint",
    "add_collaborative_logistic_classifiers",
    "compute_error",
    "dnn_favorable_searching_code",
    "encode_LEA1",
    "encode_LEA2",
    "encode_MAO",
    "encode_simple_binary",
    "map_random",
    "register_accelerator",
    "test_collaborative",
    "test_committee",
    "train_collaborative",
]
