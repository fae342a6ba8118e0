"""
AppError                   carries `code`; the edge decides the status
├── InvalidInput           the caller can mend it; carries one fault per place, each with a JSON pointer (RFC 6901)
├── NotFound               the thing asked for is not here
├── Conflict               the thing asked for contradicts what is here
├── NotAuthenticated       no key, or one that is unknown or revoked
├── NotAllowed             the key lacks a scope
├── TooLarge               a body or a batch over its limit
├── TooBusy                more waits than can be taken just now; nothing of this was taken, try again
└── Unavailable            the database cannot be reached just now; try again
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing wrong at one place of the input: `pointer` is a JSON pointer, empty for the whole."""

    pointer: str
    detail: str

    def under(self, prefix: str) -> "Fault":
        return Fault(prefix + self.pointer, self.detail)


class AppError(Exception):
    code = "error"


class InvalidInput(AppError):
    code = "invalid_input"

    def __init__(self, *faults: Fault) -> None:
        super().__init__(
            "; ".join(f"{fault.pointer}: {fault.detail}" if fault.pointer else fault.detail for fault in faults)
        )
        self.faults = faults


class NotFound(AppError):
    code = "not_found"


class Conflict(AppError):
    code = "conflict"

    def __init__(self, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.pointer = pointer


class NotAuthenticated(AppError):
    code = "not_authenticated"


class NotAllowed(AppError):
    code = "not_allowed"


class TooLarge(AppError):
    code = "too_large"


class TooBusy(AppError):
    code = "too_busy"


class Unavailable(AppError):
    code = "unavailable"
