-- Removes a schedule: no further fire. Its waiting fires are canceled by the caller, one by one.
-- @keys schedules due
-- @args schedule_id
-- @returns {"ok" | "absent"}
-- @include fires
redis.call('ZREM', K.due, A.schedule_id)
unpark(A.schedule_id)
return {redis.call('HDEL', K.schedules, A.schedule_id) == 1 and 'ok' or 'absent'}
