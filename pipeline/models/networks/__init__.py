"""The networks: layers and shapes, and the weights they start from."""
