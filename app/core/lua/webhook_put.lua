-- Writes a webhook's record if its version is still the one that was read; empty removes it.
-- @keys webhooks
-- @args webhook_id
-- @returns {"ok" | "gone" | "changed"}
-- @include version
return {put_version(K.webhooks, A.webhook_id)}
