"""What a user is a member of, directly or through groups: `checkMemberGroups` and `transitiveMemberOf`."""

import re
from typing import Any

import msgspec

from sandbox.tenant.access import READ_GROUPS, READ_USERS, Caller, bad_request, not_found
from sandbox.tenant.delta import is_hidden
from sandbox.tenant.directory import Directory
from sandbox.tenant.messages import GRAPH_JSON, Call, Reply, json_reply
from sandbox.tenant.queries import refuse_unknown

MAX_GROUPS = 20


def check_member_groups(call: Call, caller: Caller, match: re.Match[str]) -> Reply:
    """Those of the `groupIds` that the user is in.

    It needs the permission to read users and the one to read groups; hidden members are told to a caller who
    may see them. A group that does not exist is left out.
    """
    caller.require(READ_USERS)
    caller.require(READ_GROUPS)
    directory = caller.tenant.directory
    group_ids = _group_ids(call)
    user = directory.find_user(match["id"])
    if user is None:
        raise not_found(match["id"])
    sees_hidden = "Member.Read.Hidden" in caller.roles
    memberships = transitive_groups(directory, user["id"])
    value = [
        group_id
        for group_id in group_ids
        if group_id in memberships and (sees_hidden or not is_hidden(directory, group_id))
    ]
    context = f"{call.origin}/v1.0/$metadata#Collection(Edm.String)"
    return json_reply({"@odata.context": context, "value": value}, content_type=GRAPH_JSON)


def transitive_member_of(call: Call, caller: Caller, match: re.Match[str]) -> Reply:
    """All groups and directory roles of a user, by type and id alone, on one page.

    Groups with hidden members are told to a caller who may see them.
    """
    refuse_unknown(call, frozenset({"$select", "$top"}))
    directory = caller.tenant.directory
    user = directory.find_user(match["id"])
    if user is None:
        raise not_found(match["id"])
    groups = transitive_groups(directory, user["id"])
    sees_hidden = "Member.Read.Hidden" in caller.roles
    roles = caller.tenant.directory_roles
    found = [
        ("directoryRole", role)
        for role in sorted({role for holder in (user["id"], *groups) for role in roles.get(holder, ())})
    ]
    found += [("group", each) for each in sorted(groups) if sees_hidden or not is_hidden(directory, each)]
    value = [{"@odata.type": f"#microsoft.graph.{kind}", "id": object_id} for kind, object_id in found]
    context = f"{call.origin}/v1.0/$metadata#directoryObjects"
    return json_reply({"@odata.context": context, "value": value}, content_type=GRAPH_JSON)


def transitive_groups(directory: Directory, object_id: str) -> set[str]:
    """The live groups that hold the object, at any depth; nesting may have cycles."""
    found: set[str] = set()
    waiting = [object_id]
    while waiting:
        at = waiting.pop()
        parents = {g for g in directory.groups if at in directory.members[g]} - found
        found |= parents
        waiting.extend(parents)
    return found


def _group_ids(call: Call) -> list[str]:
    try:
        content: Any = msgspec.json.decode(call.body)
        group_ids = msgspec.convert(content["groupIds"], list[str])
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise bad_request("The request body must have the collection 'groupIds'.") from error
    if len(group_ids) > MAX_GROUPS:
        raise bad_request(
            f"The number of elements in 'groupIds' exceeds the limit of {MAX_GROUPS}.", "Request_BadRequest"
        )
    return group_ids
