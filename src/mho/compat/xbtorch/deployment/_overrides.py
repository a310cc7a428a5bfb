"""Which methods of an accelerator are the user's own."""

from __future__ import annotations

from typing import Any

from mho.compat.xbtorch.deployment._generic import GenericAccelerator
from mho.compat.xbtorch.deployment.weight_encoding import known

_READS = {
    True: ("read_chip", "apply_conductance_drift"),
    False: (
        *("read_chip_stateless", "apply_conductance_drift"),
        "map_weights_to_array_stateless",
    ),
}
_OURS = {name: vars(GenericAccelerator)[name] for names in _READS.values() for name in names}


def read_cell_by_cell(accelerator: Any) -> bool:
    """Whether a deployed model reads arrays through methods of the user's own, at every forward.

    Without a chip so does an encoding of the user's own: it programs cells for every forward.
    """
    kind, attributes = type(accelerator), vars(accelerator)
    for name in _READS[bool(accelerator.stateful)]:
        if getattr(kind, name, None) is not _OURS[name] or name in attributes:
            return True
    return not accelerator.stateful and not known(accelerator.weight_encoding_scheme)
