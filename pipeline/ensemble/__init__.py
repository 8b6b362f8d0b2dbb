"""The blend: combine the models' probabilities and choose a label for each test image."""
