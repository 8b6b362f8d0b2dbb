"""The machine: its devices, its memory, and training in several processes."""
