"""What is understood of what Serve tells."""

from cosyserve.cluster.told import Told

TRACE = """The deployment failed to start 1 times in a row. Error:
ray::ServeReplica:cosyserve:Engine.initialize_and_get_metadata() (pid=1, ip=127.0.0.1)
  File "replica.py", line 1984, in initialize
    raise RuntimeError(traceback.format_exc()) from None
RuntimeError: Traceback (most recent call last):
  File "engine.py", line 50, in __init__
cosyserve.cluster.engine.EngineCannotLoad: the weights are missing: get them with `make model`
"""


def test_the_one_line_is_found() -> None:
    told = Told("UPDATING", TRACE, {"STARTING": 1, "STOPPING": 2})

    assert told.hopeless
    assert told.reason == "the weights are missing: get them with `make model`"
    assert (told.running, told.coming, told.leaving) == (0, 1, 2)


def test_what_is_unknown_is_told_as_it_is() -> None:
    assert Told("DEPLOY_FAILED", "no\nspace").reason == "no space"


def test_a_replica_that_has_died_is_waited_for() -> None:
    told = Told("UNHEALTHY", "a replica's health check failed")

    assert (told.hopeless, told.reason) == (False, "")
