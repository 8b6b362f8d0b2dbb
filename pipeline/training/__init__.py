"""One competition's models: planned, trained, scored and kept under runs/."""
