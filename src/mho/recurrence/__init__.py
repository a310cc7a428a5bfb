"""Recurrent networks: the gates of one step, and the one runner of sequences."""
