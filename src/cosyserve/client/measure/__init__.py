"""`cosyserve measure`: asks a service as clients would, and reports what they heard, on what machine."""
