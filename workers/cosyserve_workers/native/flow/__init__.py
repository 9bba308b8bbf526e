"""The flow: speech tokens to mel frames, in chunks with carried state."""
