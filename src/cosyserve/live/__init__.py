"""Speech while the text is still being written: the WebSocket's session, from clauses to frames."""
