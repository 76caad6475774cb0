"""What each class of a verdict means, in a few words."""

from __future__ import annotations

from typing import Final

MEANING: Final = {
    "delivered": "acknowledged by the API, acknowledged 2xx by the merchant",
    "recovered": "no definite answer to the client, yet delivered",
    "earlier": "acknowledged again; the merchant had it before this run",
    "refused": "answered 4xx, not delivered",
    "unanswered": "no definite answer, not stored, not delivered",
    "foreign": "somebody else's; out of scope",
    "late": "not delivered at the deadline, still on its way",
    "unknown": "cannot be judged from this evidence",
    "lost": "acknowledged, never delivered",
    "phantom": "in the ledger, never sent",
    "leaked": "refused, yet delivered",
    "stranded": "no answer, stored, never delivered",
    "corrupt": "delivered bytes differ from those accepted",
    "bad-signature": "delivered with a signature that does not verify",
    "duplicated": "of all these: arrived more than once",
}
"""By class name, and `duplicated`."""
