"""Passes through a network at full speed: in prediction, and where nothing learns."""
