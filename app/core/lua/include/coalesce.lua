-- The newest waiting fire runs in the stead of the older ones.
-- @include ttl unfinished
local left = 100 -- decisions of one claim; with none left the workspace is looked at again at once

local function spend() left = left - 1 end

local function setting_of(turn) return (turn.overlap_policy and 'turn' or 'schedule') .. '.overlap_policy' end

-- Ends a fire into the newer one that runs for it, which names all that it took.
local function coalesce(turn, run, waiting_count)
  local list = run.coalesced or {}
  for _, nominal_at in ipairs(turn.coalesced or {}) do list[#list + 1] = nominal_at end
  list[#list + 1] = turn.nominal_at
  while #list > 100 do table.remove(list, 1) end
  run.coalesced, run.coalesced_count = list, (run.coalesced_count or 0) + (turn.coalesced_count or 0) + 1
  turn.into = {turn_id = run.id, nominal_at = run.nominal_at}
  local facts = {
    schedule_id = turn.schedule_id, nominal_at = turn.nominal_at, into = run.id, into_nominal_at = run.nominal_at,
    limit_count = 1, measured_count = waiting_count, setting = setting_of(turn),
  }
  move(turn, 'coalesced', 'overlap', facts)
  emit('TURN_COALESCED', turn, nil, facts, 'overlap')
end

-- The newest of a taken fire's group, the others ended into it; with true: not all of them yet.
local function newest(turn)
  local low, high = range(group_of(turn))
  local waiting_count = redis.call('ZLEXCOUNT', K.fires_waiting, low, high)
  local last = redis.call('ZREVRANGEBYLEX', K.fires_waiting, high, low, 'LIMIT', 0, 1)[1]
  local run = last and last ~= place_of(turn) and read(K.turns, (at_place(last))) or turn
  if run ~= turn then
    local in_lane = unqueue(run)
    if lapse(run) then return turn, true end
    -- Out of the middle of its lane: it takes over the entry that was claimed in order.
    if in_lane then run.entry, turn.entry = turn.entry, run.entry end
    coalesce(turn, run, waiting_count)
  end
  for _, place in ipairs(redis.call('ZRANGEBYLEX', K.fires_waiting, low, high, 'LIMIT', 0, left + 1)) do
    if place ~= place_of(run) then
      if left <= 0 then return run, true end
      local other = read(K.turns, (at_place(place)))
      unqueue(other)
      if not lapse(other) then coalesce(other, run, waiting_count) end
      spend()
    end
  end
  if run ~= turn then -- it also takes over the place, should it be lost and come back
    redis.call('ZREM', K.fires_waiting, place_of(run))
    run.seq = math.min(run.seq, turn.seq)
    redis.call('ZADD', K.open, run.seq, run.id)
  end
  return run
end
