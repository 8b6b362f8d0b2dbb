"""The report beside a submission: what was measured, drawn, and laid out as one HTML file."""
