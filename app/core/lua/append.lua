-- Appends one event that changes no state: an activity, a notice to the user.
-- @args event payload mechanism turn_id session_id
-- @keys workspace
-- @returns {"ok", event id}
-- @returns refused: workspace_not_found
-- @include event
if redis.call('EXISTS', K.workspace) == 0 then return refuse('workspace_not_found') end
local turn = A.turn_id ~= '' and {id = A.turn_id} or nil
local session = A.session_id ~= '' and {id = A.session_id} or nil
return {'ok', emit(A.event, turn, session, A.payload, A.mechanism ~= '' and A.mechanism or nil)}
