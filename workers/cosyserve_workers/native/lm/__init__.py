"""The language model: text and a voice to speech tokens, many streams at once."""
