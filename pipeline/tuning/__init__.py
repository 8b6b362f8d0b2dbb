"""Tuning: the search for better values of a recipe, with search space, objective and study."""
