-- Writes a run of replays if its version is still the one that was read; empty removes it. Those
-- that go on are listed apart, for who carries them on.
-- @keys replay_runs replay_runs_open
-- @args run_id version record is_open
-- @returns {"ok" | "gone" | "changed"}
-- @include base
local stored = read(K.replay_runs, A.run_id)
if A.version == '0' then
  if stored then return {'changed'} end
elseif not stored then
  return {'gone'}
elseif stored.version ~= tonumber(A.version) then
  return {'changed'}
end
if A.record == '' then
  redis.call('HDEL', K.replay_runs, A.run_id)
else
  redis.call('HSET', K.replay_runs, A.run_id, A.record)
end
if A.is_open == '1' then
  redis.call('ZADD', K.replay_runs_open, 'NX', NOW, A.run_id)
else
  redis.call('ZREM', K.replay_runs_open, A.run_id)
end
return {'ok'}
