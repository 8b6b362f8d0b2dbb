"""The sections of the report, a module for each: ``section`` draws its figures and gives what its template shows."""
