"""Fast forward passes: for prediction, and for the frozen start of a network in training."""
