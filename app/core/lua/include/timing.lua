-- Counts a duration into a histogram: one counter a bucket, and the sum. Buckets: timings.py.
-- @keys timings
-- @include base
local BUCKETS_MS = {
  wait = {10, 50, 250, 1000, 5000, 30000, 120000, 600000, 3600000, 21600000},
  session = {1000, 5000, 30000, 60000, 300000, 900000, 1800000, 3600000, 7200000, 21600000},
}

local function observe(name, ms)
  local bucket = 'inf'
  for _, limit in ipairs(BUCKETS_MS[name]) do
    if ms <= limit then
      bucket = string.format('%d', limit)
      break
    end
  end
  redis.call('HINCRBY', K.timings, name .. ':' .. bucket, '1')
  redis.call('HINCRBY', K.timings, name .. ':sum', string.format('%.0f', ms))
end
