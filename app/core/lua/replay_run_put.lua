-- Writes a run of replays if its version is still the one that was read; empty removes it. Those
-- that go on are listed apart, for who carries them on.
-- @keys replay_runs replay_runs_open
-- @args run_id is_open
-- @returns {"ok" | "gone" | "changed"}
-- @include version
local outcome = put_version(K.replay_runs, A.run_id)
if outcome ~= 'ok' then return {outcome} end
if A.is_open == '1' then
  redis.call('ZADD', K.replay_runs_open, 'NX', NOW, A.run_id)
else
  redis.call('ZREM', K.replay_runs_open, A.run_id)
end
return {outcome}
