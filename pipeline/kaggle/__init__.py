"""Handing in: nothing is sent twice, and the ledger keeps what was sent."""
