"""What each tool takes. The schemas that agents are shown are made from these models."""

from typing import Annotated, Any, Literal

from pydantic import Field

from app.api.models.base import Strict, Text

Line = Annotated[str, Field(max_length=256)]
Said = Annotated[Text, Field(min_length=1)]


class Recall(Strict):
    """What to look for."""

    query: Annotated[str, Field(max_length=1024)] | None = Field(
        None, description="Words to look for, the best first; without them the newest come first."
    )
    scope: Literal["LOCAL", "TEAM", "GLOBAL"] | None = Field(
        None, description="Only this workspace's, its team's, or everybody's; all where left out."
    )
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str, Field(max_length=1024)] | None = Field(
        None, description="`next` of the answer before, to the same question."
    )


class Commit(Strict):
    """What to keep."""

    content: Said = Field(description="One fact or decision, in words a later session understands.")
    scope: Literal["LOCAL", "TEAM"] = Field(
        "LOCAL", description="LOCAL: for this workspace; TEAM: for every workspace of its team."
    )
    key: Line | None = Field(
        None, description="A name: the same key again replaces what it said before."
    )
    namespace: Line | None = None


class Policy(Strict):
    """Nothing."""


class Progress(Strict):
    """How far the work is."""

    text: Said = Field(description="What was done just now, in a sentence.")
    percent: Annotated[float, Field(ge=0, le=100)] | None = None


class Checkpoint(Strict):
    """Where the work stands."""

    summary: Said = Field(description="What is done, and where it lies.")
    next_step: Text | None = Field(None, description="What the next session is to do first.")


class Message(Strict):
    """A word to the user."""

    text: Said


def schema(model: type[Strict]) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, without the titles that name Python's classes."""
    whole = model.model_json_schema()
    del whole["title"], whole["description"]
    for member in whole["properties"].values():
        member.pop("title", None)
    return whole
