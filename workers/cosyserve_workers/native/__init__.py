"""The engine `native`: CosyVoice2 without recomputation, many streams in one batch."""
