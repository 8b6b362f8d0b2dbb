"""The one training loop and all that decides its course: stages, schedules, optimisers, time budget."""
