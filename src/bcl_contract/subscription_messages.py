"""Messages between a subscriber (購読している外部システム) and BCL: JSON over mutual TLS.

The caller is known by its client certificate. Every answer is signed by the agency (Ed25519 over
the bytes, headers ``X-BCL-Signature`` and ``X-BCL-Signing-Key``).

    changes   the next page of changes after page `after` of `epoch`; naming it says that everything
              up to it has been stored and will not be asked for again
    find      single persons by a key that the profile names
    restart   from the beginning again, as a new epoch: the subscriber has lost its copy

A page is repeated until the next request names it, so a subscriber that stores page and number in
one transaction gets everything at least once and keeps it exactly once. Pages of one load end with
`load_complete`; a household's records never lie on two pages unless there are thousands.
"""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from bcl_contract.signed_messages import Message

CHANGES_PATH = "/wire/subscriptions/changes"
FIND_PATH = "/wire/subscriptions/find"
RESTART_PATH = "/wire/subscriptions/restart"
SIGNING_KEY_HEADER = "X-BCL-Signing-Key"

Municipality = Annotated[str, Field(pattern=r"^[0-9]{6}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,31}$")]
ColumnName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,80}$")]
FileId = Annotated[str, Field(pattern=r"^[A-Z][0-9]{2}$")]
Number = Annotated[int, Field(ge=0, lt=1 << 53)]
Columns = Annotated[dict[FileId, list[ColumnName]] | None, Field()]


class SubscriptionRequest(Message):
    """What every request names. `columns` asks for fewer columns than the profile gives."""

    municipality_code: Municipality
    subscription: Name
    columns: Columns = None


class ChangesRequest(SubscriptionRequest):
    """The next page behind `after`; the very first time without an epoch and after 0."""

    message: Literal["changes"] = "changes"
    epoch: Number | None = None
    after: Number = 0


class FindRequest(SubscriptionRequest):
    """Single persons or households by one exact value (`kind` as the profile names it)."""

    message: Literal["find"] = "find"
    kind: Annotated[str, Field(pattern=r"^[a-z]{1,16}$")]
    value: Annotated[str, Field(min_length=1, max_length=200, repr=False)]


class RestartRequest(SubscriptionRequest):
    """Everything again from the beginning, as a new epoch."""

    message: Literal["restart"] = "restart"


class Item(Message):
    """One record. `record` names it for this subscriber only; `household` joins its records.

    `columns` None: the record is gone. `withheld` names columns whose value is held back because
    of a protective measure: a value that was kept from earlier has to be deleted.
    """

    file: FileId
    record: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    household: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    columns: Annotated[dict[str, Any] | None, Field(repr=False)]
    withheld: Annotated[list[str], Field(default_factory=list)]


class ChangesAnswer(Message):
    """One page. `page` 0 and no items: there is nothing new. `more`: another one is ready."""

    message: Literal["changes"] = "changes"
    municipality_code: Municipality
    subscription: Name
    sent_at: AwareDatetime
    epoch: Number
    page: Number
    load_number: Number
    load_complete: bool
    more: bool
    items: list[Item]


class FindAnswer(Message):
    """Records found, of the newest state."""

    message: Literal["find"] = "find"
    municipality_code: Municipality
    subscription: Name
    sent_at: AwareDatetime
    items: list[Item]


class RestartAnswer(Message):
    """The new epoch; its pages come as soon as they are made."""

    message: Literal["restart"] = "restart"
    municipality_code: Municipality
    subscription: Name
    sent_at: AwareDatetime
    epoch: Number
