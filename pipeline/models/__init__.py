"""How images become class probabilities: one contract, many models."""
