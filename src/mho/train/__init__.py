"""Training that knows the device."""
