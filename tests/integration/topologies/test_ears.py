"""The delivery worker's subscription in a Cluster: any node tells what happens on the others."""

import pytest

from app.core import webhooks
from tests.integration.topologies.flow import NAMES, platform_of
from tests.support import servers, topologies
from tests.support.kernel import Kernel
from tests.support.wait import wait_until
from workers.webhooks import Ears


@pytest.mark.parametrize("wanted", [{webhooks.EVERYTHING}, set(NAMES)])
def test_a_worker_hears_of_the_workspaces_of_every_master(
    one_binary: str, wanted: set[str]
) -> None:
    with (
        topologies.cluster(one_binary) as here,
        servers.redis_server(one_binary) as control,
        platform_of(here.url, control_url=control.url) as platform,
    ):
        kernels = [Kernel(platform, name).create() for name in NAMES]
        ears, heard = Ears(platform), set()
        try:
            ears.listen(wanted)
            for kernel in kernels:
                kernel.submit()

            def all_heard() -> bool:
                heard.update(ears.hear(0.2))
                return heard == set(NAMES)

            wait_until(all_heard, 30)
        finally:
            ears.close()
