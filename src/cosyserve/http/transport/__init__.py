"""What lies under the application: connections, HTTP/1.1, WebSocket frames; Hypercorn's states, bounds of our own."""
