"""Inputs that nobody thought of: hypothesis makes them, the real server takes them, `witness` says what is right."""
