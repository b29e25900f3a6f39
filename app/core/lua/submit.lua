-- Accepts a turn: replays or coalesces a repeat, checks the bound, queues it, appends the event.
-- @keys workspace live submit_key
-- @args turn_id lane origin body record digest idempotency_ttl_ms coalesce max_wait_ms
-- @args expires_in_ms
-- @returns {"accepted" | "replayed" | "coalesced", turn id, depth, oldest wait ms, session age ms,
-- @returns   runnable 0|1}
-- @returns refused: workspace_not_found, workspace_removed, idempotency_conflict, queue_full
-- @include bound room push
local ws = redis.call('HMGET', K.workspace, 'paused_at', 'hold_until', 'max_concurrent', 'status')
if not ws[4] then return refuse('workspace_not_found') end
if ws[4] == 'removed' then return refuse('workspace_removed') end

local function answer(outcome, turn_id) return taken(outcome, turn_id, runnable(ws)) end

if read(K.turns, A.turn_id) then return answer('replayed', A.turn_id) end
local named = A.digest ~= ''
if named then
  local known = redis.call('GET', K.submit_key)
  local digest, turn_id = string.match(known or '', '^(%S*) (%S+)$')
  if turn_id and A.coalesce == '1' then
    local turn = read(K.turns, turn_id)
    if turn and not TERMINAL[turn.state] and turn.state ~= 'input_required' then
      return answer('coalesced', turn_id)
    end
  elseif turn_id and digest ~= A.digest then
    return refuse('idempotency_conflict')
  elseif turn_id then
    return answer('replayed', turn_id)
  end
end

local depth, counts = waiting()
if depth >= tonumber(A.queue_depth_max) then return refuse_depth(depth, A.origin) end

local turn = cjson.decode(A.record)
turn.id, turn.lane, turn.origin = A.turn_id, A.lane, A.origin
turn.max_wait_ms = tonumber(A.max_wait_ms)
local life = number(A.expires_in_ms)
if life then turn.expires_at = NOW + life end
put_push(turn)
enqueue(turn, A.body)
if named then
  redis.call('SET', K.submit_key, A.digest .. ' ' .. turn.id, 'PX', A.idempotency_ttl_ms)
end
emit('MESSAGE_QUEUED', turn, nil, {lane = turn.lane, origin = turn.origin, depth = depth + 1})
local at = RANK[turn.lane] + 1
counts[at] = (counts[at] or 0) + 1
return taken('accepted', turn.id, runnable(ws), depth + 1, counts)
