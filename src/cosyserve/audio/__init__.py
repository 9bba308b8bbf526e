"""Audio formats: PCM from a worker to the bytes that a client asked for."""
