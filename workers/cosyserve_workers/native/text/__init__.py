"""A text to the segments that are spoken one after another, and to the ids of their tokens."""
