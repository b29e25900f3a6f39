-- Removes a schedule: no further fire. Its waiting fires are canceled by the caller, one by one.
-- @keys schedules due tallies
-- @args schedule_id
-- @returns {"ok" | "absent"}
-- @include fires
redis.call('ZREM', K.due, A.schedule_id)
redis.call('HDEL', K.tallies, A.schedule_id .. ':failures', A.schedule_id .. ':last')
unpark(A.schedule_id)
return {redis.call('HDEL', K.schedules, A.schedule_id) == 1 and 'ok' or 'absent'}
