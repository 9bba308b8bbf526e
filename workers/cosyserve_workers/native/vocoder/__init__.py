"""Mel spectrograms to audio: HiFT (HiFTNet, arXiv:2309.09493), in pieces that join to what one pass gives."""
