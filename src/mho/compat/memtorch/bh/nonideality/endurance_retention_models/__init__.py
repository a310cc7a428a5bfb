"""Models of endurance and retention."""
# ruff: noqa: F403

from mho.compat.memtorch.bh.nonideality.endurance_retention_models.conductance_drift import *
from mho.compat.memtorch.bh.nonideality.endurance_retention_models.empirical_metal_oxide_RRAM import *  # noqa: E501
