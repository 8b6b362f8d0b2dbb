"""The solution: images -> models -> predictions."""
