"""Parameters of cells, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Parameters:
    """Holds values as attributes: numbers where all cells agree, else one value per cell.

    As ``types.SimpleNamespace``, which ``torch.compile`` does not know.

    Args:
        values: by name.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)
