"""Recurrent networks: gates of one step, forms of layers and sequences, the one runner."""
