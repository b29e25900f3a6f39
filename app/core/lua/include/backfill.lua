-- How far a backfill has come: its record, the last nominal time that is settled, what was made.
-- @keys backfills
-- @args backfill_id backfill
-- @include base
-- The nominal time up to which it has come; its record is kept from the first call on.
local function backfilled_to()
  redis.call('HSETNX', K.backfills, A.backfill_id, A.backfill)
  return number(redis.call('HGET', K.backfills, A.backfill_id .. ':done')) or 0
end

local function backfilled(fire, outcome)
  redis.call('HINCRBY', K.backfills, A.backfill_id .. (outcome == 'made' and ':made' or ':already'), 1)
  redis.call('HSET', K.backfills, A.backfill_id .. ':done', fire.nominal)
end
