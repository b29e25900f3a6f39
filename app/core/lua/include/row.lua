-- The ledger's row of a fire that has a turn, in step with it, and what is counted of the rows.
-- @keys fires tallies backfills
-- @include event
local FACTS = {'limit_ms', 'measured_ms', 'limit_count', 'measured_count', 'setting'}

local function fire_of(turn) return turn.schedule_id .. ':' .. string.format('%.0f', turn.nominal_at) end

-- Which limit acted, of whatever else an event tells; nil where none did.
local function limits_of(facts)
  if not facts or not facts.setting then return nil end
  local found = {}
  for _, name in ipairs(FACTS) do found[name] = facts[name] end
  return found
end

-- The ledger knows no steps between the claim and the end; a fire that asks for input is under way.
local function row_state(turn)
  return (turn.state == 'queued' or TERMINAL[turn.state]) and turn.state or 'running'
end

-- Counts the fires of a schedule that wait, and those of a backfill in each state.
local function tally(turn, state, by)
  local function add(key, field)
    if redis.call('HINCRBY', key, field, by) <= 0 then redis.call('HDEL', key, field) end
  end
  if state == 'queued' then add(K.tallies, turn.schedule_id .. ':waiting') end
  if turn.backfill_id then add(K.backfills, turn.backfill_id .. ':' .. state) end
end

local function write_row(turn)
  local state = row_state(turn)
  if state ~= turn.row_state then
    if turn.row_state then tally(turn, turn.row_state, -1) end
    tally(turn, state, 1)
    turn.row_state = state
  end
  local row = {
    state = state, turn_id = turn.id, at = turn.state_at, reason = turn.mechanism or nil,
    session_id = turn.session_id, started_at = turn.started_at, origin = turn.fire_origin,
    ended_at = turn.ended_at, attempt = turn.attempt, into = turn.into, behind = turn.behind,
    duration_ms = turn.ended_at and turn.session_id and turn.ended_at - turn.started_at or nil,
  }
  for name, value in pairs(turn.facts or {}) do row[name] = value end
  redis.call('HSET', K.fires, fire_of(turn), cjson.encode(row))
  if turn.ended_at and turn.begun_at then
    redis.call('HSET', K.tallies, turn.schedule_id .. ':last', string.format('%.0f', turn.nominal_at))
  end
end
