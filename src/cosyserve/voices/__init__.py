"""Voices: uploaded recordings, and those that are kept under a name."""
