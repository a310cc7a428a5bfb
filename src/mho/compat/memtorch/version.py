"""The interface's version. Programs of the old API ask it for "cpu" to choose a device."""

__version__ = "1.1.6-cpu"
