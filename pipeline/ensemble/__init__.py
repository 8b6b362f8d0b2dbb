"""From the models' probabilities to answers: the blend, and the CSV."""
