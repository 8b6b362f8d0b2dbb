"""Files become arrays: decoded once, kept in a memory-mapped cache."""
