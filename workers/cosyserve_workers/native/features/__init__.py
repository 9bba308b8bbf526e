"""What the models are told of a voice: spectra, speech tokens, the speaker."""
