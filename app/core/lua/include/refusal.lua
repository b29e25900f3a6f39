-- Tells of a refusal, but of one kind only so often a minute: who is refused again and again must
-- not push what matters out of the stream. The first one left out is told as a limit of its own;
-- the next minute's first says how many were left out. All of them are counted.
-- @keys refusals stats
-- @args refusals_told_per_min
-- @include event
local function tell_refusal(event, kind, turn, session, payload, mechanism)
  local minute, limit = math.floor(NOW / 60000), tonumber(A.refusals_told_per_min)
  local known = redis.call('HGET', K.refusals, kind) or ''
  local last, told, untold = string.match(known, '^(%d+) (%d+) (%d+)$')
  told = tonumber(last) == minute and tonumber(told) or 0
  untold = tonumber(untold) or 0
  local function note(now_told, now_untold)
    redis.call('HSET', K.refusals, kind, minute .. ' ' .. now_told .. ' ' .. now_untold)
  end
  if told < limit then
    if untold > 0 then payload.untold_count = untold end
    emit(event, turn, session, payload, mechanism)
    return note(told + 1, 0)
  end
  redis.call('HINCRBY', K.stats, event, 1)
  if told == limit then
    emit('LIMIT_HIT', nil, nil, {
      refusal = kind, limit_count = limit, measured_count = told + 1,
      setting = 'TURNKEEPER_REFUSALS_TOLD_PER_MIN',
    }, 'refusals_told')
  end
  note(limit + 1, untold + 1)
end
