"""The search for better values of a recipe: search space, objective, study."""
