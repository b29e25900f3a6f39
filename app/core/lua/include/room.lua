-- How many more sessions the workspace may open, by our leases and by its last heartbeat.
-- @keys workspace capacity live
-- @include base
-- `own`: the owner's bound, where it was read already.
local function room(own)
  local beat = redis.call('HMGET', K.capacity, 'seq', 'foreign', 'max_concurrent')
  if not beat[1] then return nil end
  if own == nil then own = redis.call('HGET', K.workspace, 'max_concurrent') end
  own = number(own)
  local said = number(beat[3])
  local slots = own and said and math.min(own, said) or own or said or 1
  return slots - redis.call('ZCARD', K.live) - (number(beat[2]) or 0), slots
end

-- Whether a claim could succeed now, so that a doorbell is worth its ring.
-- `ws`: these three fields, where they were read already.
local function runnable(ws)
  ws = ws or redis.call('HMGET', K.workspace, 'paused_at', 'hold_until', 'max_concurrent')
  if ws[1] or (number(ws[2]) or 0) > NOW then return 0 end
  return (room(ws[3]) or 0) > 0 and 1 or 0
end
