-- The bound on a workspace's queue, and the answer to what was accepted.
-- @keys live
-- @args queue_depth_max
-- @include lane refusal
-- `depth` and `counts`: what waits, where the caller knows it.
local function taken(outcome, turn_id, is_runnable, depth, counts)
  if not depth then depth, counts = waiting() end
  local oldest, session = oldest_at(counts), redis.call('ZRANGE', K.live, 0, 0, 'WITHSCORES')
  return {outcome, turn_id, depth, oldest and NOW - oldest or 0,
    session[2] and NOW - tonumber(session[2]) or 0, is_runnable}
end

local function refuse_depth(depth, refused)
  local told = {
    limit_count = tonumber(A.queue_depth_max), setting = 'TURNKEEPER_QUEUE_DEPTH_MAX',
    measured_count = depth, refused = refused,
  }
  tell_refusal('LIMIT_HIT', 'queue_depth', nil, nil, told, 'queue_depth')
  told.mechanism, told.refused, told.untold_count = 'queue_depth', nil, nil
  return refuse('queue_full', told)
end
