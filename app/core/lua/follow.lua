-- Continues a turn that asked for input: what its caller answers is queued, with its context, as the
-- same turn, in the place it had. `attempt` is that of the session whose question was read: where
-- another has been since, nothing is written. `call` names the call: a repeat is answered as before;
-- with named=1 its caller has named it (submit_key), for as long as such names are remembered.
-- @keys submit_key
-- @args turn_id attempt body digest call named limits idempotency_ttl_ms
-- @returns {"accepted" | "replayed" | "coalesced", turn id, depth, oldest wait ms, session age ms,
-- @returns   runnable 0|1} | {"moved"}
-- @returns refused: workspace_not_found, workspace_removed, turn_not_found, idempotency_conflict
-- @returns refused: illegal_transition, queue_full, too_many_push_configs
-- @include bound room push_room
local status = redis.call('HGET', K.workspace, 'status')
if not status then return refuse('workspace_not_found') end
if status == 'removed' then return refuse('workspace_removed') end
local named = A.named == '1'
local known = named and redis.call('GET', K.submit_key)
if known then
  if string.match(known, '^%S*') ~= A.digest then return refuse('idempotency_conflict') end
  return taken('replayed', string.match(known, '%S+$'), runnable())
end
local turn = read(K.turns, A.turn_id)
if not turn then return refuse('turn_not_found', {turn_id = A.turn_id}) end
if turn.follow_call == A.call then return taken('replayed', turn.id, runnable()) end
if turn.state ~= 'input_required' then
  if not TERMINAL[turn.state] and turn.follow_digest == A.digest then
    return taken('coalesced', turn.id, runnable())
  end
  return refuse('illegal_transition', {state = turn.state})
end
if turn.attempt ~= tonumber(A.attempt) then return {'moved'} end
local depth = waiting()
if depth >= tonumber(A.queue_depth_max) then return refuse_depth(depth, turn.origin) end
local refusal = refuse_push(turn)
if refusal then return refusal end

turn.follow_call, turn.follow_digest = A.call, A.digest
-- It waits from now on: neither its age nor the life of its first message counts against it.
turn.accepted_at, turn.expires_at, turn.losses = NOW, nil, 0
turn.session_id, turn.not_before = nil, nil
put_push(turn)
if not move(turn, 'queued') then return refuse('illegal_transition', {state = turn.state}) end
redis.call('ZADD', K.returned, RANK[turn.lane] * 1e12 + turn.seq, turn.id)
redis.call('HSET', K.bodies, turn.id, A.body)
redis.call('HDEL', K.results, turn.id)
emit('MESSAGE_QUEUED', turn, nil, {
  lane = turn.lane, origin = turn.origin, depth = depth + 1, continues = true,
})
if named then
  redis.call('SET', K.submit_key, A.digest .. ' ' .. turn.id, 'PX', A.idempotency_ttl_ms)
end
for _, hit in ipairs(cjson.decode(A.limits)) do emit('LIMIT_HIT', turn, nil, hit[2], hit[1]) end
return taken('accepted', turn.id, runnable())
