"""Submitting to Kaggle: nothing is sent twice, and the ledger records every submission."""
