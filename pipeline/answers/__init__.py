"""From the models' probabilities to a submission: predictions, their scores, the blend, the CSV."""
