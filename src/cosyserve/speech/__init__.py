"""A request for speech: what a client said, checked and complete."""
