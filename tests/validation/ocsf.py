"""OCSF 1.8.0, beyond its JSON Schema: captions that belong to their ids, and times in milliseconds.

The official schema has a caption as free text and a time as any integer, so that `"type": "Admin"` beside
`"type_id": 1` and a time in seconds are valid there. Both checks walk the document along the same schema.
"""

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from tests.validation.json_schema import fault, validator

VERSION = "1.8.0"

# A person may be hired before computers counted time, and leave in year 9999.
_OF_A_LIFE = {"hire_time", "leave_time"}


@cache
def _dictionary() -> dict[str, Any]:
    schema: dict[str, Any] = get_ocsf_schema(version=VERSION)
    return schema


@cache
def official_validator(class_name: str) -> Draft202012Validator:
    """OCSF's own JSON Schema of the class, with the `cloud` profile."""
    schema = OcsfJsonSchemaEmbedded(_dictionary()).get_class_schema(class_name, profiles=["cloud"])
    return validator(schema)


def ocsf_fault(class_name: str, document: dict[str, Any], *, official: bool = True) -> str | None:
    """What is wrong with an event of this class and the `cloud` profile, or nothing."""
    if official:
        said = fault(official_validator(class_name), document)
        if said is not None:
            return f"the official OCSF schema says: {said}"
    class_schema = _dictionary()["classes"][class_name]
    expected = class_schema["uid"] * 100 + document["activity_id"]
    if document["type_uid"] != expected:
        return f"type_uid {document['type_uid']} is not class_uid * 100 + activity_id, {expected}"
    if "cloud" in document and "cloud" not in document["metadata"].get("profiles", []):
        return "metadata.profiles does not name the cloud profile that is used"
    return _attributes_fault(class_schema["attributes"], document, "$")


def _attributes_fault(attributes: dict[str, Any], value: dict[str, Any], path: str) -> str | None:
    for name, content in value.items():
        attribute = attributes.get(name)
        if attribute is None:
            continue  # the official schema has said so
        found = (
            _caption_fault(attribute, name, value)
            if "enum" in attribute
            else _time_fault(name, content)
            if attribute["type"] == "timestamp_t"
            else None
        )
        if found is not None:
            return f"{path}.{name}: {found}"
        if "object_type" in attribute and attribute["type"] == "object_t":
            inner = _dictionary()["objects"][attribute["object_type"]]["attributes"]
            for index, item in enumerate(content if isinstance(content, list) else [content]):
                found = _attributes_fault(inner, item, f"{path}.{name}[{index}]")
                if found is not None:
                    return found
    return None


def _caption_fault(attribute: dict[str, Any], name: str, value: dict[str, Any]) -> str | None:
    sibling = attribute.get("sibling")
    if sibling not in value or value[name] == 99:
        return None
    caption = attribute["enum"][str(value[name])]["caption"]
    if value[sibling] != caption:
        return f"{value[name]} is {caption!r}, and {sibling} says {value[sibling]!r}"
    return None


def _time_fault(name: str, time: object) -> str | None:
    if type(time) is not int:
        return f"{time!r} is no integer"
    plausible = 1e10 < abs(time) < 3e14 if name in _OF_A_LIFE else 1e11 < time < 1e14
    return None if plausible else f"{time} is no plausible time in milliseconds"
