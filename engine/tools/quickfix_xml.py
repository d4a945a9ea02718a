"""The venue's messages as a QuickFIX data dictionary (`scripts/venue --dictionary`).

One file for transport and application, as the venue publishes it: give it to a QuickFIX engine as both
TransportDataDictionary and AppDataDictionary. It is made from the same tables as the engine's own validation.
"""

from typing import Final

from engine.fix.dictionary import FieldSpec, GroupSpec, MessageSpec, Use
from engine.fix.fields import FieldType
from engine.kalshi.dictionary import DICTIONARY

_HEADER: Final = (
    (8, True), (9, True), (35, True), (49, True), (56, True), (34, True), (52, True),
    (50, False), (57, False), (43, False), (97, False), (122, False), (1128, False),
)  # fmt: skip
_ADMIN: Final = frozenset("012345A")
_TYPES: Final = {
    FieldType.INT: "INT",
    FieldType.BOOLEAN: "BOOLEAN",
    FieldType.CHAR: "CHAR",
    FieldType.STRING: "STRING",
    FieldType.MULTIPLE: "MULTIPLEVALUESTRING",
    FieldType.TIMESTAMP: "UTCTIMESTAMP",
    FieldType.DATE: "UTCDATEONLY",
    FieldType.TIME: "UTCTIMEONLY",
    FieldType.DATA: "DATA",
}


def quickfix_xml() -> str:
    """Return the dictionary, header, trailer, messages and fields."""
    lines = [
        "<?xml version='1.0' encoding='UTF-8'?>",
        "<fix type='FIXT' major='1' minor='1' servicepack='0'>",
    ]
    lines.append("  <header>")
    lines += [_use(tag, required=required, indent=4) for tag, required in _HEADER]
    lines += ["  </header>", "  <trailer>", _use(10, required=True, indent=4), "  </trailer>", "  <messages>"]
    for message in DICTIONARY.messages.values():
        lines += _message(message)
    lines += ["  </messages>", "  <components/>", "  <fields>"]
    counts = {group.count_tag for message in DICTIONARY.messages.values() for group in message.groups}
    for field in sorted(DICTIONARY.fields.values(), key=lambda field: field.tag):
        lines += _field(field, is_count=field.tag in counts)
    lines += ["  </fields>", "</fix>"]
    return "\n".join(lines) + "\n"


def _use(tag: int, *, required: bool, indent: int) -> str:
    name = DICTIONARY.fields[tag].name
    return f"{' ' * indent}<field name='{name}' required='{'Y' if required else 'N'}'/>"


def _uses(uses: tuple[Use, ...], indent: int) -> list[str]:
    return [_use(use.tag, required=use.required, indent=indent) for use in uses]


def _message(message: MessageSpec) -> list[str]:
    category = "admin" if message.msg_type in _ADMIN else "app"
    lines = [f"    <message msgcat='{category}' msgtype='{message.msg_type}' name='{message.name}'>"]
    lines += _uses(message.fields, 6)
    for group in message.groups:
        lines += _group(group)
    return [*lines, "    </message>"]


def _group(group: GroupSpec) -> list[str]:
    name = DICTIONARY.fields[group.count_tag].name
    required = "Y" if group.required else "N"
    return [f"      <group name='{name}' required='{required}'>", *_uses(group.members, 8), "      </group>"]


def _field(field: FieldSpec, *, is_count: bool) -> list[str]:
    head = f"    <field number='{field.tag}' name='{field.name}' type='{_type(field, is_count=is_count)}'"
    if not field.values:
        return [head + "/>"]
    # QuickFIX refuses values that aren't listed: what the venue may add to stays without a list
    if field.open:
        return [head + "/>"]
    values = sorted(field.values)
    return [
        head + ">",
        *(f"      <value enum='{v}' description='VALUE_{v}'/>" for v in values),
        "    </field>",
    ]


def _type(field: FieldSpec, *, is_count: bool) -> str:
    if field.type is FieldType.COUNT:
        if is_count:
            return "NUMINGROUP"
        return "LENGTH" if field.name.endswith("Length") else "SEQNUM"
    if field.type is FieldType.DECIMAL:
        if field.name.endswith(("Qty", "Size")):
            return "QTY"
        return "PRICE" if field.name.endswith(("Px", "Price")) else "AMT"
    return _TYPES[field.type]
