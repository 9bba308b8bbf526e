"""The engine `native` exchanged under load, on the small checkpoints: from one model to the other and back."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.http.test_native_kills import ALIKE, SEEDS, heard, likeness
from tests.http.test_native_server import FOLDERS, server_on
from tests.model.conftest import small_checkpoint, small_checkpoint_3  # noqa: F401 - fixtures
from tests.reloading import reload_with
from tests.serving import LOADING_S, Server, wait_for


def streams(server: Server, clients: ThreadPoolExecutor) -> list[Future[bytes | None]]:
    """Under way, one a seed."""
    asked = [clients.submit(heard, server, seed) for seed in SEEDS]
    wait_for(lambda: server.model_info()["running"] == len(SEEDS), "all of them to run")
    return asked


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_from_one_model_to_the_other_and_back(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folders: dict[str, Path] = {name: request.getfixturevalue(fixture) for name, fixture in FOLDERS.items()}
    one, other = folders
    with server_on(tmp_path, folders[one]) as server, ThreadPoolExecutor(len(SEEDS)) as clients:
        section = {"engine": "native", "state_budget_gib": 0.25}
        alone = [heard(server, seed) for seed in SEEDS]
        for name in (other, one):
            running = streams(server, clients)
            told = reload_with(server, {"model": {**section, "dir": str(folders[name])}})
            assert told.status == 0, told.says
            assert server.model_info()["model_type"] == name
            answers = [stream.result(LOADING_S) for stream in running]
            assert all(answers), "whole, by the model that they began with"
            if name == other:
                assert all(likeness(a or b"", b or b"") >= ALIKE for a, b in zip(answers, alone, strict=True))
        running = streams(server, clients)
        assert reload_with(server, {"model": {**section, "dir": str(tmp_path)}}).status == 1
        assert [stream.result(LOADING_S) is not None for stream in running] == [True] * len(SEEDS)
        assert server.model_info()["model_type"] == one
        assert server.model_info()["generation"] == 3
