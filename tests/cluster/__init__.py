"""The engines on Ray Serve, on simulated nodes."""
