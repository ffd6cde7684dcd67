"""Sekoia's models, with every field that they would drop counted as a fault, and what they do not compare."""

from typing import Any

from pydantic import ValidationError
from sekoia_automation_models.ocsf.user import (
    AccountTypeId,
    AccountTypeStr,
    UserOCSFModel,
    UserTypeId,
    UserTypeStr,
)


def sekoia_fault(document: dict[str, Any]) -> str | None:
    """What is wrong with an item of the asset inventory, or nothing."""
    try:
        item = UserOCSFModel.model_validate(document, extra="forbid")
    except ValidationError as error:
        return f"Sekoia's model says: {error}"
    if (item.class_uid, item.category_uid) != (5003, 5):
        return f"class {item.class_uid} of category {item.category_uid} is not 5003 of 5"
    if item.type_uid != item.class_uid * 100 + item.activity_id:
        return f"type_uid {item.type_uid} is not class_uid * 100 + activity_id"
    times = {"time": item.time}
    for enrichment in item.enrichments or []:
        if enrichment.data is not None and enrichment.data.last_time_password_change is not None:
            times["last_time_password_change"] = enrichment.data.last_time_password_change
    for name, time in times.items():
        if not 1e8 < time < 1e11:
            return f"{name} {time} is no plausible time in seconds"
    user = item.user
    if user.type_id is not None and user.type != UserTypeStr[UserTypeId(user.type_id).name]:
        return f"user.type_id {user.type_id} is not {user.type!r}"
    account = user.account
    if account is not None and account.type != AccountTypeStr[AccountTypeId(account.type_id).name]:
        return f"user.account.type_id {account.type_id} is not {account.type!r}"
    return None
