"""What applying files would change, in terms that people read."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from app.files.documents import CONDITIONS, Document
from app.files.notation import Said, line

ADDED, REMOVED, CHANGED = "+", "-", "~"
Line: TypeAlias = tuple[str, str]
"""A sign, or nothing for what belongs to the line before, and the words."""

_NAMED = {"groups": "group", "bands": "band", "rules": "rule"}
"""The lists of a model whose items are known by their names, so that their order says nothing."""
_UNSET = "unset"
_LONG = 100


class Field(NamedTuple):
    """What one field was and becomes; None for unset."""

    name: str
    was: str | None
    becomes: str | None


class Part(NamedTuple):
    """A rule, band or group that is added, removed or changed."""

    sign: str
    noun: str
    name: str
    fields: tuple[Field, ...]


class Change(NamedTuple):
    """What becomes of one model's draft."""

    key: str
    is_new: bool
    fields: tuple[Field, ...]
    parts: tuple[Part, ...]


def compare(was: Document | None, becomes: Document) -> Change | None:
    """What turns the one into the other; None if they say the same."""
    before = was or {}
    fields = _fields(before, becomes, leave_out={*_NAMED, "key"})
    parts = tuple(
        part for field, noun in _NAMED.items() for part in _parts(noun, before.get(field), becomes.get(field))
    )
    if not fields and not parts:
        return None
    return Change(str(becomes["key"]), was is None, fields, parts)


def _fields(was: Mapping[str, Said], becomes: Mapping[str, Said], leave_out: set[str]) -> tuple[Field, ...]:
    found = []
    for name in (name for name in dict.fromkeys([*becomes, *was]) if name not in leave_out):
        exact = Field(name, *(line(side[name]) if name in side else None for side in (was, becomes)))
        if exact.was != exact.becomes:
            read = Field(name, *(_read(name, side[name]) if name in side else None for side in (was, becomes)))
            found.append(read if read.was != read.becomes else exact)
    return tuple(found)


def _read(name: str, value: Said) -> str:
    return _words(value) if name in CONDITIONS else line(value)


def _words(condition: Said) -> str:
    """A condition as one would say it."""
    if not isinstance(condition, dict):
        return line(condition)
    parts = condition.get("rules")
    if not isinstance(parts, list):
        value = [line(condition["value"])] if "value" in condition else []
        said = " ".join([str(condition.get("field")), str(condition.get("operator")), *value])
    else:
        inner = f" {condition.get('combinator')} ".join(
            f"({_words(part)})" if isinstance(part, dict) and "rules" in part else _words(part) for part in parts
        )
        said = f"not ({inner})" if condition.get("not") else inner
    return f"[muted: {said}]" if condition.get("muted") else said


def _parts(noun: str, was: Said, becomes: Said) -> Iterator[Part]:
    before, after = _by_name(was), _by_name(becomes)
    for name, said in after.items():
        fields = _fields(before.get(name, {}), said, leave_out={"name"})
        if name not in before:
            yield Part(ADDED, noun, name, fields)
        elif fields:
            yield Part(CHANGED, noun, name, fields)
    for name, said in before.items():
        if name not in after:
            yield Part(REMOVED, noun, name, _fields(said, {}, leave_out={"name"}))


def _by_name(items: Said) -> dict[str, dict[str, Said]]:
    listed = items if isinstance(items, list) else []
    return {str(item["name"]): item for item in listed if isinstance(item, dict)}


def lines(change: Change) -> Iterator[Line]:
    """A change in words."""
    yield ADDED if change.is_new else CHANGED, f"model {change.key}"
    for field in change.fields:
        yield from _field_lines(field, "  ", is_new=change.is_new)
    for part in change.parts:
        if part.sign == CHANGED:
            yield CHANGED, f"  {part.noun} {_name(part)}"
            for field in part.fields:
                yield from _field_lines(field, "    ", is_new=False)
        else:
            said = "; ".join(f"{field.name}: {field.becomes or field.was}" for field in part.fields)
            yield part.sign, f"  {part.noun} {_name(part)} ({said})"


def _name(part: Part) -> str:
    return part.name if part.name.isprintable() else line(part.name)


def _field_lines(field: Field, indent: str, *, is_new: bool) -> Iterator[Line]:
    if is_new:
        yield "", f"{indent}{field.name}: {field.becomes}"
        return
    was, becomes = field.was or _UNSET, field.becomes or _UNSET
    if len(was) + len(becomes) <= _LONG:
        yield "", f"{indent}{field.name}: {was} → {becomes}"
    else:
        yield "", f"{indent}{field.name}: {was}"
        yield "", f"{indent}{' ' * len(field.name)}→ {becomes}"


def summary(changes: list[Change]) -> str:
    """How much that is, in one line."""
    if not changes:
        return "The drafts say what the files say."
    parts = [part for change in changes for part in change.parts]
    rules = [sum(part.noun == "rule" and part.sign == sign for part in parts) for sign in (ADDED, REMOVED, CHANGED)]
    new = sum(change.is_new for change in changes)
    of_models = _counted({"new": new, "changed": len(changes) - new})
    of_rules = _counted(dict(zip(("added", "removed", "changed"), rules, strict=True)))
    return f"Models: {of_models}." + (f" Rules: {of_rules}." if of_rules else "")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)
