"""Seeds: XBTorch's users call ``torch.manual_seed``, so seeds are drawn from there."""

from __future__ import annotations

import torch


def seed() -> int:
    """Draw a seed from torch's global generator."""
    return int(torch.randint(2**62, (), dtype=torch.int64))
