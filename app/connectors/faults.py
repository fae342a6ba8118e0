"""What can go wrong with a CRM as a whole. What goes wrong with one record is an `Outcome`.

Fault
├── Refused         this call, as it is, never: our mapping or our code is wrong
├── SignInRefused   the credentials; nothing goes on before somebody mends them
├── CursorLost      begin again where the connector's cursor last was sure
└── Later           nothing is wrong with the call
    ├── Busy        the CRM asked for silence until an instant
    ├── BudgetSpent our own budget, or the CRM's, is spent until an instant
    └── Unreachable no connection, no sense in the answer, a fault of theirs; it may have been done or not

No message holds a credential or anybody's data: they are logged and shown.
"""

from datetime import datetime


class Fault(Exception):
    """Base of all of these."""


class Refused(Fault):
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class SignInRefused(Fault):
    def __init__(self, code: str, what: str, mend: str) -> None:
        super().__init__(f"{what}; {mend}")
        self.code = code
        self.what = what
        self.mend = mend


class CursorLost(Fault):
    pass


class Later(Fault):
    pass


class Busy(Later):
    def __init__(self, until: datetime, why: str) -> None:
        super().__init__(why)
        self.until = until


class BudgetSpent(Later):
    def __init__(self, until: datetime, why: str) -> None:
        super().__init__(why)
        self.until = until


class Unreachable(Later):
    pass
