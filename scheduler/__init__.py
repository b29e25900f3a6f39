"""The cron side: rq-scheduler ticks, ``fire_due`` makes the fires."""
