"""The report beside a submission: measurements and figures in one HTML file."""
