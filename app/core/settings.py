"""The one settings object: read once from the environment, checked as a whole, then frozen.

``python -m app.core.settings --check`` prints every fault at once and exits 1 on any.
Durations are seconds (fractions allowed, so that a run at 60 times the speed is only settings).
"""

import difflib
import os
import sys
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.core import idle_setting
from app.core.addresses import Allowed
from app.core.agent_settings import AgentSettings
from app.core.errors import SettingsFault
from app.core.foreign_settings import FOREIGN, PREFIX
from app.core.web_settings import WebSettings

Seconds = float
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _plain(name: str, *aliases: str) -> AliasChoices:
    return AliasChoices(name, *aliases)


class Settings(WebSettings, AgentSettings, BaseSettings):
    """Every limit and address of the platform; see docs/reference/settings.md."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", populate_by_name=True
    )

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        validation_alias=_plain("REDIS_URL"),
        description="The Redis that holds the workspaces (the data side).",
    )
    control_url: str = Field(
        "", description="The Redis of RQ and the cross-workspace hints; empty: REDIS_URL."
    )
    redis_tls_verify: bool = Field(
        True, description="Verify the certificate of a rediss:// server."
    )
    redis_ca_cert: str = Field("", description="Path of a CA bundle for rediss:// servers.")
    redis_timeout_s: Seconds = Field(1.5, gt=0, description="Socket timeout of one Redis command.")
    redis_pool_size: int = Field(200, ge=8, description="Redis connections of one process at most.")
    ack_replicas: int = Field(
        0, ge=0, description="Replicas that must confirm a change before it is answered 2xx."
    )
    ack_timeout_s: Seconds = Field(0.5, gt=0, description="How long they may take; then 503.")

    port: int = Field(
        8080, ge=0, le=65535, validation_alias=_plain("PORT"), description="HTTP port."
    )
    host: str = Field("127.0.0.1", description="Address the web process binds to.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias=_plain("LOG_LEVEL"), description="Lowest level logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: columns on a terminal, else one JSON object a line."
    )
    admin_token: SecretStr = Field(
        SecretStr(""),
        description="The first admin token; empty: only tokens stored in Redis count.",
    )

    heartbeat_interval_s: Seconds = Field(30, gt=0, description="How often a runtime beats.")
    heartbeat_ttl_s: Seconds = Field(
        180, gt=0, description="Life of the capacity key after a beat; then offline."
    )
    heartbeat_late_s: Seconds = Field(
        90, gt=0, description="A beat this late makes the workspace degraded."
    )
    idle_timeout_s: Seconds = Field(
        900,
        ge=0,
        validation_alias=_plain("TURNKEEPER_IDLE_TIMEOUT_S", "A2A_IDLE_TIMEOUT_SECONDS"),
        description="Silence (no beat naming it, no progress) that ends a session; 0: never.",
    )
    stall_after_s: Seconds = Field(
        600, ge=0, description="No progress for so long marks a session stalled; 0: never."
    )
    ceiling_s: Seconds = Field(
        1800, ge=0, description="Absolute length of a session; 0: no ceiling."
    )
    checkpoint_grace_s: Seconds = Field(
        60, ge=0, description="Before the ceiling: ask to save and exit."
    )
    cancel_grace_s: Seconds = Field(10, ge=0, description="Before the ceiling: cancel.")
    lease_ttl_s: Seconds = Field(
        60, gt=0, description="From the claim until the agent must have started."
    )
    handover_s: Seconds = Field(
        10, gt=0, description="From the claim until the worker must have laid the turn out."
    )
    redeliver_after_s: Seconds = Field(
        5, gt=0, description="A turn handed to a poll but not started is handed again after this."
    )

    alert_streak_count: int = Field(
        3, ge=1, description="So many fires of a workspace waiting need a person's attention."
    )
    alert_wait_s: Seconds = Field(
        900, gt=0, description="A turn that waits longer than this needs a person's attention."
    )
    alert_policy_stale_s: Seconds = Field(
        1800,
        gt=0,
        description="A session under an older policy for longer needs a person's attention.",
    )

    lane_max_wait_s: Seconds = Field(
        600, gt=0, description="A waiting entry older than this is served first, whatever its lane."
    )
    max_attempts: int = Field(
        5, ge=1, description="Sessions a turn may lose before it is a dead letter."
    )
    handovers_max: int = Field(
        20, ge=1, description="Claims a turn may lose before any agent has it; then a dead letter."
    )
    retry_backoff_s: Seconds = Field(
        1, ge=0, description="First pause before a returned turn is claimed again; doubles."
    )
    retry_backoff_max_s: Seconds = Field(
        60, ge=0, description="Longest pause before a returned turn is claimed again."
    )
    catchup_window_s: Seconds = Field(
        86400, ge=0, description="How late a fire may still be made; older ones are missed."
    )
    backfill_max_count: int = Field(
        1000, ge=1, description="Fires of one backfill; a longer range is refused with 422."
    )

    queue_depth_max: int = Field(
        10_000, ge=1, description="Waiting turns of one workspace; more are refused with 429."
    )
    memory_max_bytes: int = Field(32_768, ge=1, description="Longest memory; longer is refused.")
    memories_max_count: int = Field(
        10_000, ge=1, description="Memories of one workspace, one team, or GLOBAL; more: 409."
    )
    memories_bind_max_bytes: int = Field(
        32_768, ge=0, description="Memories put into a session's prompt, newest first; 0: none."
    )
    body_max_bytes: int = Field(1_048_576, ge=1024, description="Largest request body.")
    import_max_count: int = Field(
        1_000, ge=1, description="Lines of a crontab, or items of a backup, of one import."
    )
    prompt_max_bytes: int = Field(262_144, ge=1, description="Largest prompt or message text.")
    output_max_bytes: int = Field(
        262_144, ge=1024, description="Largest result kept with a turn; the tail is kept."
    )
    turns_kept: int = Field(1000, ge=1, description="Finished turns kept for one workspace.")
    turn_retention_s: Seconds = Field(
        604_800, gt=0, description="How long a finished turn is kept."
    )
    dead_kept: int = Field(10_000, ge=1, description="Dead letters kept for one workspace.")
    dead_retention_s: Seconds = Field(
        2_592_000, ge=0, description="How long a dead letter is kept; 0: for ever."
    )
    events_kept: int = Field(10_000, ge=100, description="Events kept for one workspace (about).")
    events_kept_s: Seconds = Field(
        604_800, gt=0, description="How long an event is kept; what a webhook is owed, longer."
    )
    deliveries_kept: int = Field(
        1_000, ge=10, description="Delivery attempts kept for one workspace (about)."
    )
    fires_kept: int = Field(5_000, ge=100, description="Ended ledger rows kept for one schedule.")
    idempotency_ttl_s: Seconds = Field(
        86_400, gt=0, description="How long an idempotency key is remembered."
    )

    reap_interval_s: Seconds = Field(1, gt=0, description="How often deadlines are looked at.")
    sweep_interval_s: Seconds = Field(
        10, gt=0, description="How often the cross-workspace hints are repaired."
    )
    invariants_interval_s: Seconds = Field(
        300, ge=0, description="How often every workspace's invariants are checked; 0: never."
    )
    dispatch_slice_s: Seconds = Field(
        30, gt=0, description="How long one dispatch job serves workspaces."
    )
    claims_per_visit: int = Field(
        20, ge=1, description="Turns one visit may claim in all its workspaces; then to the back."
    )
    drain_s: Seconds = Field(
        20, gt=0, description="How long a stopping process may take to put its work down."
    )

    @field_validator("egress_allow")
    @classmethod
    def _hosts_or_networks(cls, text: str) -> str:
        Allowed.parse(text)
        return text

    @model_validator(mode="after")
    def _relations(self) -> Self:
        faults = [
            text
            for bad, text in (
                (
                    self.heartbeat_interval_s * 3 > self.heartbeat_ttl_s,
                    "heartbeat_interval_s * 3 <= heartbeat_ttl_s: two lost beats are not offline",
                ),
                (
                    self.heartbeat_late_s > self.heartbeat_ttl_s,
                    "heartbeat_late_s <= heartbeat_ttl_s: late comes before offline",
                ),
                (
                    0 < self.ceiling_s <= self.checkpoint_grace_s,
                    "checkpoint_grace_s < ceiling_s: time to work before being asked to save",
                ),
                (
                    self.cancel_grace_s > self.checkpoint_grace_s,
                    "cancel_grace_s <= checkpoint_grace_s: cancel comes after checkpoint",
                ),
                (
                    0 < self.idle_timeout_s < self.heartbeat_interval_s * 2,
                    "idle_timeout_s >= 2 * heartbeat_interval_s: who beats is not idle",
                ),
                (
                    self.webhook_retry_s > self.webhook_retry_max_s,
                    "webhook_retry_s <= webhook_retry_max_s: the first pause is the shortest",
                ),
                (
                    self.ack_replicas > 0 and self.ack_timeout_s >= self.redis_timeout_s,
                    "ack_timeout_s < redis_timeout_s: the wait ends before its connection does",
                ),
                (
                    self.open_loopback and self.host not in LOOPBACK,
                    "open_loopback only where host is 127.0.0.1, ::1 or localhost",
                ),
                (
                    0 < self.memories_bind_max_bytes < self.memory_max_bytes,
                    "memory_max_bytes <= memories_bind_max_bytes: the newest memory always fits",
                ),
                (
                    self.retry_backoff_s > self.retry_backoff_max_s,
                    "retry_backoff_s <= retry_backoff_max_s: the first pause is the shortest",
                ),
            )
            if bad
        ]
        if faults := faults + self.agent_faults():
            raise ValueError("; ".join(faults))
        return self

    @property
    def control(self) -> str:
        """URL of the control side."""
        return self.control_url or self.redis_url

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the environment once.

        Raises:
            SettingsFault: with every fault, unknown ``TURNKEEPER_*`` names included.
        """
        env = dict(os.environ if environ is None else environ)
        faults = _unknown(cls, env)
        values = _values(cls, env)
        idle_setting.decide(env, values, env_name("idle_timeout_s"), _default)
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            faults += [_fault(cls, item) for item in error.errors()]
        if faults:
            raise SettingsFault("; ".join(faults), faults=faults)
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in counts: nothing but ``from_env`` reads the environment."""
        return (init_settings,)


def env_name(field: str) -> str:
    """The environment name of a field, as docs and faults print it."""
    alias = Settings.model_fields[field].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else PREFIX + field.upper()


def _values(cls: type[Settings], env: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: env[env_name(name)].strip()
        for name in cls.model_fields
        if env.get(env_name(name), "").strip()
    }


def _default(field: str) -> float:
    return float(Settings.model_fields[field].default)


def _unknown(cls: type[Settings], env: Mapping[str, str]) -> list[str]:
    known = {env_name(name) for name in cls.model_fields} | FOREIGN
    faults = []
    for name in sorted(env):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            faults.append(
                f"{name}: unknown setting" + (f"; did you mean {near[0]}?" if near else "")
            )
    return faults


def _fault(cls: type[Settings], item: Any) -> str:
    location = str(item["loc"][0]) if item["loc"] else ""
    message = item["msg"].removeprefix("Value error, ")
    return f"{env_name(location)}: {message}" if location in cls.model_fields else message


def main(argv: list[str]) -> int:
    """``--check``: exit 0 when the settings can be used and Redis carries a known schema."""
    if argv != ["--check"]:
        print("usage: python -m app.core.settings --check", file=sys.stderr)
        return 2
    try:
        settings = Settings.from_env()
    except SettingsFault as fault:
        for line in fault.fields["faults"]:
            print(f"setting refused: {line}", file=sys.stderr)
        return 1
    from app.core import schema  # here: reading settings must not need a Redis client

    problem = schema.check_now(settings)
    print(problem or "settings and schema are good", file=sys.stderr if problem else sys.stdout)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
