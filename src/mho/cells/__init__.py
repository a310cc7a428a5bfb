"""Cells: what may happen to them at each stage, and populations of them."""
