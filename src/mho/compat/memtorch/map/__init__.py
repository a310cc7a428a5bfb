"""Mapping, scaling and tuning."""
# ruff: noqa: F403

from mho.compat.memtorch.map.Input import *
from mho.compat.memtorch.map.Module import *
from mho.compat.memtorch.map.Parameter import *
