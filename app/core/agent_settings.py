"""Settings of agents that are reached over HTTP; part of the one settings object."""

from pydantic import BaseModel, Field


class AgentSettings(BaseModel):
    """Slots, times and pauses of the adapter ``a2a``."""

    hold_slots: int = Field(
        50,
        ge=1,
        description="Messages to agents on their way, or held by them, in one worker; half of them "
        "at most for one workspace.",
    )
    follow_slots: int = Field(
        100, ge=1, description="Tasks of agents followed at a time in one worker; others in turn."
    )
    agent_timeout_s: float = Field(
        15, gt=0, description="How long one request to an agent may take; not one that it holds."
    )
    agent_poll_s: float = Field(
        2, gt=0, description="First pause between two looks at a task of an agent; doubles."
    )
    agent_poll_max_s: float = Field(
        30, gt=0, description="Longest pause between two looks at a task of an agent."
    )
    agent_probe_s: float = Field(
        30, gt=0, description="How often an agent that sends no heartbeat is asked for its card."
    )

    def agent_faults(self) -> list[str]:
        """Relations that do not hold."""
        if self.agent_poll_s > self.agent_poll_max_s:
            return ["agent_poll_s <= agent_poll_max_s: the first pause is the shortest"]
        return []
