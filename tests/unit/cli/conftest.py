from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from app.cli.main import main
from tests.unit.cli.fake_api import TOKEN, FakeApi, serving

Run = Callable[..., Result]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with serving() as fake:
        yield fake


@pytest.fixture
def run(api: FakeApi) -> Run:
    def invoke(*arguments: str, stdin: str | None = None, token: str = TOKEN) -> Result:
        env = {"TURNKEEPER_URL": api.url, "TURNKEEPER_TOKEN": token, "NO_COLOR": "1"}
        return CliRunner().invoke(main, list(arguments), input=stdin, env=env)

    return invoke
