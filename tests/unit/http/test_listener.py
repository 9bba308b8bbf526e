"""The listening socket: what accepted connections inherit from it."""

import socket

import pytest

from cosyserve.http.listener import listen
from cosyserve.settings.sections import Settings, SettingsError


@pytest.fixture
def settings() -> Settings:
    return Settings.model_validate({"server": {"port": 0, "client_stall_timeout_s": 12.5}})


def test_accepted_connections_send_each_chunk_at_once_and_give_up_on_who_reads_nothing(settings: Settings) -> None:
    with listen(settings) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 25_000


def test_a_patience_beyond_what_a_kernel_has_is_taken() -> None:
    listen(Settings.model_validate({"server": {"port": 0, "client_stall_timeout_s": 1e9}})).close()


def test_a_taken_port_is_told_in_one_line(settings: Settings) -> None:
    with listen(settings) as listener:
        port = listener.getsockname()[1]
        taken = Settings.model_validate({"server": {"port": port}})
        with pytest.raises(SettingsError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*--port"):
            listen(taken)


@pytest.mark.parametrize("host", ["\0", "a" * 64, "nowhere.invalid"])
def test_a_host_that_is_none_is_told_in_one_line(host: str) -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on .*--host"):
        listen(Settings.model_validate({"server": {"host": host, "port": 0}}))
