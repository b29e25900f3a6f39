"""``python -m workers``: one RQ worker process per queue; ``… dispatch``: only that one.

One queue per process: with two, RQ takes jobs by BLPOP, and a death between the pop and the
start loses the job for ever. No fork per job: our jobs are short and ours.
"""

import sys
from collections.abc import Sequence

from app.core import doorbell, telemetry
from app.core.errors import SettingsFault
from app.core.settings import Settings
from workers import keeper, worker


def main(argv: Sequence[str]) -> int:
    """Exit 0 after an orderly stop, 1 on bad settings or schema, 2 on an unknown queue.

    ``--kept``: started by :mod:`workers.keeper`; ends when that process is gone.
    """
    names = [word for word in argv if word != keeper.KEPT]
    if len(names) > 1 or any(name not in doorbell.QUEUES for name in names):
        print(f"usage: python -m workers [{'|'.join(doorbell.QUEUES)}]", file=sys.stderr)
        return 2
    try:
        settings = Settings.from_env()
    except SettingsFault as fault:
        print(
            "\n".join(f"setting refused: {line}" for line in fault.fields["faults"]),
            file=sys.stderr,
        )
        return 1
    telemetry.configure_logs(settings)
    if not names:
        return keeper.keep(doorbell.QUEUES, settings.drain_s)
    if keeper.KEPT in argv:
        keeper.end_with_the_keeper()
    return worker.work(settings, names[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
