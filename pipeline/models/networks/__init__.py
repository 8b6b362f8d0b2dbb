"""The networks: their layers, their input and output shapes, and their pretrained weights."""
