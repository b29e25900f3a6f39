-- Accepts a turn: replays or coalesces a repeat, checks the bound, queues it, appends the event.
-- @keys workspace live submit_key
-- @args turn_id lane origin body record digest idempotency_ttl_ms coalesce max_wait_ms
-- @args expires_in_ms queue_depth_max
-- @returns {"accepted" | "replayed" | "coalesced", turn id, depth, oldest wait ms, session age ms,
-- @returns   runnable 0|1}
-- @returns refused: workspace_not_found, workspace_removed, idempotency_conflict, queue_full
-- @include lane room
local status = redis.call('HGET', K.workspace, 'status')
if not status then return refuse('workspace_not_found') end
if status == 'removed' then return refuse('workspace_removed') end

local function answer(outcome, turn_id)
  local depth, counts = waiting()
  local oldest, session = oldest_at(counts), redis.call('ZRANGE', K.live, 0, 0, 'WITHSCORES')
  return {outcome, turn_id, depth, oldest and NOW - oldest or 0,
    session[2] and NOW - tonumber(session[2]) or 0, runnable()}
end

if read(K.turns, A.turn_id) then return answer('replayed', A.turn_id) end
local named = A.digest ~= ''
if named then
  local known = redis.call('GET', K.submit_key)
  local digest, turn_id = string.match(known or '', '^(%S*) (%S+)$')
  if turn_id and A.coalesce == '1' then
    local turn = read(K.turns, turn_id)
    if turn and not TERMINAL[turn.state] then return answer('coalesced', turn_id) end
  elseif turn_id and digest ~= A.digest then
    return refuse('idempotency_conflict')
  elseif turn_id then
    return answer('replayed', turn_id)
  end
end

local depth = waiting()
if depth >= tonumber(A.queue_depth_max) then
  emit('LIMIT_HIT', nil, nil, {
    limit_count = tonumber(A.queue_depth_max), setting = 'TURNKEEPER_QUEUE_DEPTH_MAX',
    measured_count = depth, refused = A.origin,
  }, 'queue_depth')
  return refuse('queue_full', {
    mechanism = 'queue_depth', limit_count = tonumber(A.queue_depth_max), measured_count = depth,
    setting = 'TURNKEEPER_QUEUE_DEPTH_MAX',
  })
end

local turn = cjson.decode(A.record)
turn.id, turn.lane, turn.origin = A.turn_id, A.lane, A.origin
turn.max_wait_ms = tonumber(A.max_wait_ms)
local life = number(A.expires_in_ms)
if life then turn.expires_at = NOW + life end
enqueue(turn, A.body)
if named then
  redis.call('SET', K.submit_key, A.digest .. ' ' .. turn.id, 'PX', A.idempotency_ttl_ms)
end
emit('MESSAGE_QUEUED', turn, nil, {lane = turn.lane, origin = turn.origin, depth = depth + 1})
return answer('accepted', turn.id)
