"""What crosses to a worker process beside the messages: pipes, its birth certificate, its log."""
