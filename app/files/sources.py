"""Where documents come from: files, and the ready-made models that come with the product."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from app.errors import Fault, InvalidInput
from app.files import notation
from app.files.documents import Draft, draft
from app.files.notation import Said

LIBRARY = "library:"


class Placed(NamedTuple):
    """A draft and the document that says it."""

    source: str
    draft: Draft


class Wrong(NamedTuple):
    """A fault and the document that it is in."""

    source: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.source}:{self.fault.pointer}  {self.fault.detail}"


@dataclass(frozen=True)
class Reading:
    """What files say: `drafts` are those without a fault of form, `keys` all the models that they mean to be about."""

    sources: list[str] = field(default_factory=list)
    drafts: list[Placed] = field(default_factory=list)
    faults: list[Wrong] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)


def read(names: Sequence[str]) -> Reading:
    """Every document of these files; `library:KEY` names a ready-made one."""
    reading = Reading()
    for name in names:
        try:
            found = list(notation.read(_text(name)))
        except InvalidInput as fault:
            reading.sources.append(name)
            reading.faults.extend(Wrong(name, one) for one in fault.faults)
            continue
        if not found:
            reading.sources.append(name)
            reading.faults.append(Wrong(name, Fault("", "there is no model in it")))
        for number, (document, faults) in enumerate(found, 1):
            _add(reading, name if len(found) == 1 else f"{name}#{number}", document, faults)
    return reading


def _add(reading: Reading, source: str, document: Said, faults: list[Fault]) -> None:
    reading.sources.append(source)
    wrong = list(faults)
    key = document.get("key") if isinstance(document, dict) else None
    if isinstance(key, str):
        if key in reading.keys:
            wrong.append(Fault("/key", f"another document is about {key!r:.80}, too"))
        reading.keys.add(key)
    seen = {fault.pointer for fault in wrong}
    try:
        made = draft(document)
    except InvalidInput as fault:
        wrong += [one for one in fault.faults if one.pointer not in seen]
    else:
        if not wrong:
            reading.drafts.append(Placed(source, made))
    reading.faults.extend(Wrong(source, fault) for fault in wrong)


def library() -> dict[str, str]:
    """The ready-made models: key → YAML."""
    folder = resources.files("app") / "library"
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".yaml")), key=lambda one: one.name)
    return {one.name.removesuffix(".yaml"): one.read_text(encoding="utf-8") for one in files}


def _text(name: str) -> str:
    """Raises InvalidInput if there is no text to be had."""
    if name.startswith(LIBRARY):
        known = library()
        if name.removeprefix(LIBRARY) not in known:
            raise InvalidInput(Fault("", f"there is no such ready-made model; there is {', '.join(known)}"))
        return known[name.removeprefix(LIBRARY)]
    try:
        return Path(name).read_text(encoding="utf-8-sig")
    except OSError as fault:
        raise InvalidInput(Fault("", (fault.strerror or str(fault)).lower())) from None
    except UnicodeDecodeError as fault:
        raise InvalidInput(Fault("", f"not UTF-8, from byte {fault.start} on")) from None
