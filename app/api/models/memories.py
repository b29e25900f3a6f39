"""Memories."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from app.api.models.base import Count, Lenient, Name, Short

Scope = Literal["LOCAL", "TEAM", "GLOBAL"]
Content = Annotated[str, Field(min_length=1, max_length=262_144)]
Label = Annotated[str, Field(max_length=256)]


class NewMemory(Lenient):
    """A memory to keep; secrets are taken out before it is stored."""

    content: Content
    scope: Scope = "LOCAL"
    namespace: Label = ""
    key: Label | None = Field(
        None, description="The same key in a namespace is the same memory: a new version of it."
    )
    session_id: Name | None = Field(
        None, description="The session that writes; its own writes are no news to it."
    )


class MemoryQuery(BaseModel):
    """What to recall: without a query the newest first, with one the best first."""

    scope: Scope | None = Field(None, description="All three where it is left out.")
    query: Short = ""
    namespace: Label | None = None
    limit: Count = 50
    cursor: Annotated[str, Field(max_length=1024)] = Field(
        "", description="`next` of the answer before, to the same question."
    )
    session_id: Name | None = Field(
        None, description="The session that asks; it has then seen what there is."
    )

    @field_validator("scope", mode="before")
    @classmethod
    def _all_when_empty(cls, value: Any) -> Any:
        return value or None


class Forget(Lenient):
    """Which memory to remove: by its id, by its key, or by its whole content."""

    id: Name | None = None
    key: Label | None = None
    content: Content | None = None
    scope: Scope = "LOCAL"
    namespace: Label = ""
    session_id: Name | None = None

    @model_validator(mode="after")
    def _names_one(self) -> "Forget":
        if sum(value is not None for value in (self.id, self.key, self.content)) != 1:
            raise ValueError("one of id, key and content")
        return self


class Memory(BaseModel):
    """The newest version of a memory.

    ``seq`` orders the store it is in and rises with every change there; ``redactions``: how many
    secrets of which kind were taken out.
    """

    id: str
    scope: Scope
    namespace: str
    key: str | None
    content: str
    version: int
    seq: int
    at: str
    created_at: str
    workspace_id: str | None
    session_id: str | None
    author: str | None
    redactions: dict[str, int]


class Memories(BaseModel):
    """A page of the answer: ``total`` memories answer, ``returned`` are here.

    ``is_complete``: they are all here. ``next``: the cursor of what follows, null at the end.
    """

    memories: list[Memory]
    total: int
    returned: int
    is_complete: bool
    next: str | None


class Forgotten(BaseModel):
    """The memory is gone; ``seq`` is the number of its removal."""

    status: Literal["ok"]
    id: str
    seq: int
