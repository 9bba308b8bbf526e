"""Beyond one machine: engines and front ends as deployments of Ray Serve. `python -m cosyserve.cluster` starts it.

Needs the extra `ray`. Serve decides where engines run, how many there are, and what becomes of one that dies; clients
meet the same application as with `cosyserve serve`.
"""
