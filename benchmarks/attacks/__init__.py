"""The attacks of torture.py: each breaks something while or before commands run, and judges how they end."""
