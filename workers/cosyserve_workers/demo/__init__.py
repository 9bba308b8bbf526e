"""The engine `demo`: real, understandable speech from espeak-ng, with no GPU and no weights."""
