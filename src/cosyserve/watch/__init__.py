"""What is told of requests and of the pool: metrics, the log, the line of each request."""
