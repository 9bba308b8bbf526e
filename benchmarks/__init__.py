"""Timings of the service; the README says what there is."""
