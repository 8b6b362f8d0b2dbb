"""A local stand-in for Kaggle's server, for rehearsals and tests with the real client."""
