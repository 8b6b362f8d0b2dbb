"""The one training loop and everything that controls it: stages, schedules, optimisers, time budget."""
