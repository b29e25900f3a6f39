"""Who gets the slots of deliveries while receivers hang."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from app.core.platform import Platform
from app.core.settings import Settings
from tests.unit.api.web import fake_clients
from workers.receivers import PushReceiver
from workers.webhooks import Service

SLOTS = 16


class Hanging:
    """A pool whose deliveries never end."""

    def submit(self, *_: Any) -> "Future[Any]":
        return Future()

    def shutdown(self, **_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service(Platform(Settings(webhook_slots=SLOTS), fake_clients()))
    pool, made._pool = made._pool, Hanging()  # type: ignore[assignment]  # noqa: SLF001
    yield made
    made._running.clear()  # noqa: SLF001
    made._waiting.clear()  # noqa: SLF001
    made._pool = pool  # noqa: SLF001
    made.close()


def begun(service: Service, *urls: str) -> Counter[str]:
    """What has begun, by receiver, where one turn pushes to each of these and a webhook waits."""
    for number, url in enumerate(urls):
        push = PushReceiver(f"push|t{number}:c", {"url": url})
        service._want(("w1", push.line), push.id)  # noqa: SLF001
    service._want(("w2", "wh_1"), "wh_1")  # noqa: SLF001
    service._start()  # noqa: SLF001
    return Counter(receiver for receiver, _ in service._running.values())  # noqa: SLF001


def test_paths_of_one_host_share_its_quarter(service: Service) -> None:
    found = begun(service, *(f"https://slow.example/{number}" for number in range(48)))
    assert found["wh_1"] == 1
    assert found.total() == SLOTS // 4 + 1


def test_pushes_to_many_hosts_leave_half_to_the_webhooks(service: Service) -> None:
    found = begun(service, *(f"https://slow{number}.example/" for number in range(48)))
    assert found["wh_1"] == 1
    assert found.total() == SLOTS // 2 + 1
