-- Queues what an ended turn asked again, as a new turn that names it: once for each turn, unless
-- `again` is 1. A dead letter is settled by it. Of a fire it is another fire of its schedule, at
-- this moment and with the schedule as it is at its claim: the ledger keeps the end of the first.
-- A run of replays leaves alone what was discarded after it was chosen.
-- `body`: what it asks in the caller's words; empty: what the old one asked.
-- @keys live schedules
-- @args turn_id new_id again run_id body
-- @returns {"accepted" | "replayed" | "discarded", turn id, depth, oldest wait ms, session age ms, runnable 0|1}
-- @returns refused: workspace_not_found, workspace_removed, turn_not_found, illegal_transition
-- @returns refused: schedule_not_found, queue_full
-- @include bound room ledger settle
local COPIED = {
  'lane', 'origin', 'max_wait_ms', 'context_id', 'redeliver', 'max_attempts', 'schedule_id',
  'overlap_policy', 'from_workspace_id', 'principal',
}
local status = redis.call('HGET', K.workspace, 'status')
if not status then return refuse('workspace_not_found') end
if status == 'removed' then return refuse('workspace_removed') end
if read(K.turns, A.new_id) then return taken('replayed', A.new_id, runnable()) end
local old = read(K.turns, A.turn_id)
if not old then return refuse('turn_not_found', {turn_id = A.turn_id}) end
if not TERMINAL[old.state] then return refuse('illegal_transition', {state = old.state}) end
if old.replayed_as and (A.again ~= '1' or old.replayed_as == A.new_id) then
  return taken('replayed', old.replayed_as, runnable())
end
if A.run_id ~= '' and old.discarded_at then return taken('discarded', old.id, runnable()) end
if old.schedule_id and not read(K.schedules, old.schedule_id) then
  return refuse('schedule_not_found', {schedule_id = old.schedule_id})
end
local depth = waiting()
if depth >= tonumber(A.queue_depth_max) then return refuse_depth(depth, old.origin) end

local turn = {id = A.new_id, replay_of = old.id}
for _, name in ipairs(COPIED) do turn[name] = old[name] end
local told = {lane = turn.lane, origin = turn.origin, depth = depth + 1, replay_of = old.id}
if turn.schedule_id then
  turn.nominal_at, turn.fire_origin = NOW, 'replay'
  while redis.call('HEXISTS', K.fires, fire_of(turn)) == 1 do turn.nominal_at = turn.nominal_at + 1 end
  index_row(fire_of(turn))
  told.schedule_id, told.nominal_at, told.mode = turn.schedule_id, turn.nominal_at, A.mode
end
enqueue(turn, A.body ~= '' and A.body or redis.call('HGET', K.bodies, old.id))
emit(turn.schedule_id and 'CRON_QUEUED' or 'MESSAGE_QUEUED', turn, nil, told)
old.replayed_as, old.replayed_at = turn.id, NOW
settle(old)
emit('TURN_REPLAYED', old, nil, {replayed_as = turn.id, run_id = A.run_id ~= '' and A.run_id or nil}, 'operator')
return taken('accepted', turn.id, runnable())
