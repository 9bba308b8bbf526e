"""The client behind `cosyserve say`: posts a text to a server and writes the audio as it arrives."""
