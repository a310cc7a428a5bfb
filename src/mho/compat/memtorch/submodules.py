"""Kept for its name: MemTorch's third-party sources were here, and nothing is needed of them."""
