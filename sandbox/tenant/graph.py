"""Microsoft Graph v1.0, as far as the app calls it: routes, permissions, costs, and the resources
themselves.

What is refused here is refused by Graph: no token, another audience, a missing permission or licence, an
unknown property, a page size out of range, options that a resource does not have.
"""

import itertools
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sandbox.tenant import delta, group_membership, queries, tenant_resources
from sandbox.tenant.access import (
    READ_DOMAINS,
    READ_GROUP_SETTINGS,
    READ_GROUPS,
    READ_METHODS,
    READ_ORGANIZATION,
    READ_USERS,
    Caller,
    GraphError,
    authenticate,
    bad_request,
    new_request_id,
    not_found,
    unsupported,
)
from sandbox.tenant.configuration import RateLimit
from sandbox.tenant.directory import Kind
from sandbox.tenant.messages import GRAPH_JSON, Call, JsonObject, Reply, json_reply
from sandbox.tenant.schema import GROUP, USER, EntityType

if TYPE_CHECKING:
    from sandbox.tenant.tenant import Tenant

type Handler = Callable[[Call, Caller, re.Match[str]], Reply]

_KEPT_CURSORS = 256
_DELTA_OPTIONS = frozenset({"$select", "$filter", "$skiptoken", "$deltatoken"})
_LIST_OPTIONS = frozenset(
    {"$select", "$filter", "$top", "$expand", "$count", "$skiptoken", "$orderby", "$search"}
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A list that is being paged: the ids as they were at its first page, and the size of a page."""

    ids: tuple[str, ...]
    size: int
    counted: bool


@dataclass(frozen=True, slots=True)
class Route:
    """A path of Graph, who may ask for it, and its base cost in resource units."""

    pattern: re.Pattern[str]
    handler: Handler
    permissions: tuple[str, ...] | None
    cost: int
    method: str = "GET"


class Graph:
    """The Graph endpoint of one tenant."""

    PREFIX = "/v1.0"

    def __init__(self, tenant: "Tenant") -> None:
        self._tenant = tenant
        self.links_issued = 0
        """Delta links handed out so far; each carries its number."""
        self._cursors: OrderedDict[str, Cursor | delta.Chain] = OrderedDict()
        self._routes = self._table()

    def _table(self) -> list[Route]:
        name = r"[^/]+"
        rows: list[tuple[str, Handler, tuple[str, ...] | None, int]] = [
            (r"/users/(?:microsoft\.graph\.)?delta(?:\(\))?", self._users_delta, READ_USERS, 1),
            (r"/groups/(?:microsoft\.graph\.)?delta(?:\(\))?", self._groups_delta, READ_GROUPS, 1),
            (r"/users/\$count", self._count_users, READ_USERS, 1),
            (r"/groups/\$count", self._count_groups, READ_GROUPS, 1),
            (r"/users", self._users, READ_USERS, 2),
            (r"/groups", self._groups, READ_GROUPS, 1),
            (rf"/users/(?P<id>{name})", self._user, READ_USERS, 1),
            (rf"/groups/(?P<id>{name})", self._group, READ_GROUPS, 1),
            (rf"/users/(?P<id>{name})/authentication/methods", self._methods, READ_METHODS, 1),
            (
                rf"/groups/(?P<id>{name})/(?P<relation>members|owners)(?:/(?:microsoft\.)?graph\.(?P<cast>\w+))?",
                self._group_links,
                READ_GROUPS,
                3,
            ),
            (
                r"/reports/authenticationMethods/userRegistrationDetails",
                self._registrations,
                None,
                1,
            ),
            (
                rf"/reports/authenticationMethods/userRegistrationDetails/(?P<id>{name})",
                self._registration,
                None,
                1,
            ),
            (
                rf"/users/(?P<id>{name})/transitiveMemberOf",
                group_membership.transitive_member_of,
                READ_USERS,
                2,
            ),
            (
                r"/directory/deletedItems/(?:microsoft\.)?graph\.(?P<cast>user|group)",
                self._deleted_items,
                None,
                1,
            ),
            (rf"/directory/deletedItems/(?P<id>{name})", self._deleted_item, None, 1),
            (r"/organization", tenant_resources.organization, READ_ORGANIZATION, 1),
            (r"/domains", tenant_resources.domains, READ_DOMAINS, 1),
            (rf"/domains/(?P<id>{name})", tenant_resources.domain, READ_DOMAINS, 1),
            (r"/groupSettings", tenant_resources.group_settings, READ_GROUP_SETTINGS, 1),
        ]
        routes = [
            Route(re.compile(pattern), handler, permissions, cost)
            for pattern, handler, permissions, cost in rows
        ]
        check = re.compile(rf"/users/(?P<id>{name})/(?:microsoft\.graph\.)?checkMemberGroups")
        # Needs the permission for users and the one for groups.
        return [*routes, Route(check, group_membership.check_member_groups, None, 4, "POST")]

    async def answer(self, call: Call) -> Reply:
        """The answer to one request other than `$batch`, refusals included."""
        request_id = new_request_id()
        charged = 0
        try:
            caller = authenticate(self._tenant, call)
            route, match = self._route(call)
            if route.permissions is not None:
                caller.require(route.permissions)
            cost = self._cost(call, route)
            self._charge(call, caller, cost)
            charged = cost
            reply = route.handler(call, caller, match)
        except GraphError as error:
            reply = error.reply(call, request_id)
        reply.resource_units = charged
        return self._signed(call, reply, request_id)

    def _route(self, call: Call) -> tuple[Route, re.Match[str]]:
        path = re.sub(r"/{2,}", "/", call.path).rstrip("/")
        for route in self._routes:
            match = route.pattern.fullmatch(path)
            if match is not None:
                if call.method != route.method:
                    raise GraphError(
                        405, "Request_BadRequest", f"Specified HTTP method is not allowed: {call.method}."
                    )
                return route, match
        segment = path.strip("/").split("/")[0]
        raise bad_request(f"Resource not found for the segment '{segment}'.")

    def _cost(self, call: Call, route: Route) -> int:
        """Documented modifiers: -1 with `$select`, +1 with `$expand`, -1 with `$top` under 20, never below
        1."""
        units = route.cost
        if route.handler in (self._users_delta, self._groups_delta):
            return self._tenant.delta_resource_units
        units -= "$select" in call.query
        units += "$expand" in call.query
        units -= call.query.get("$top", "").isdecimal() and int(call.query["$top"]) < 20
        return max(1, units)

    def _charge(self, call: Call, caller: Caller, cost: int) -> None:
        limits: list[tuple[RateLimit | None, float, str]] = [
            (self._tenant.throttle, cost, "ResourceUnitLimitExceeded"),
        ]
        if "/reports/" in call.path:
            limits.append((self._tenant.report_throttle, 1, "RequestLimitExceeded"))
        if "signInActivity" in call.query.get("$select", ""):
            limits.append((self._tenant.sign_in_throttle, 1, "RequestLimitExceeded"))
        for limit, units, reason in limits:
            wait = limit.take(units) if limit is not None else 0.0
            if wait > 0:
                scope = f"Tenant_Application/Read/{caller.client_id}/{self._tenant.tenant_id}"
                headers = {
                    "Retry-After": f"{wait:.3f}",
                    "x-ms-throttle-information": reason,
                    "x-ms-throttle-scope": scope,
                }
                raise GraphError(
                    429,
                    "TooManyRequests",
                    "Too many requests from your application. Please try again later.",
                    headers,
                )

    def _signed(self, call: Call, reply: Reply, request_id: str) -> Reply:
        reply.headers["request-id"] = request_id
        reply.headers["client-request-id"] = call.headers.get("client-request-id", request_id)
        reply.headers["x-ms-ags-diagnostic"] = (
            '{"ServerInfo":{"DataCenter":"Sandbox","Slice":"E","Ring":"5"}}'
        )
        if reply.resource_units:
            reply.headers["x-ms-resource-unit"] = str(reply.resource_units)
        throttle = self._tenant.throttle
        if throttle is not None and throttle.used > 0.8:
            reply.headers["x-ms-throttle-limit-percentage"] = f"{throttle.used:.2f}"
        return reply

    # --- delta ------------------------------------------------------------------------------------

    def _users_delta(self, call: Call, caller: Caller, _match: re.Match[str]) -> Reply:
        return self._delta(call, caller, "user", USER)

    def _groups_delta(self, call: Call, caller: Caller, _match: re.Match[str]) -> Reply:
        return self._delta(call, caller, "group", GROUP)

    def _delta(self, call: Call, caller: Caller, kind: Kind, entity: EntityType) -> Reply:
        queries.refuse_unknown(call, _DELTA_OPTIONS)
        base = f"{call.origin}/v1.0/{kind}s/delta"
        if "$skiptoken" in call.query:
            key, number = self._page_of(call.query["$skiptoken"])
            chain = self._cursors.get(key)
            if not isinstance(chain, delta.Chain) or chain.query.kind != kind or number >= len(chain.pages):
                raise _expired_page_token()
            return self._delta_page(base, chain, key, number, entity)
        token_text = call.query.get("$deltatoken", "")
        if token_text and token_text.lower() != "latest":
            token = self._delta_token(token_text, kind, base)
            query = delta.Query(
                kind, token.select, token.relations, frozenset(token.ids) if token.ids is not None else None
            )
            chain = self._planned(query, token.position, caller, entity)
        else:
            query = self._delta_query(call, kind, entity, caller)
            chain = (
                delta.Chain(query, self._tenant.directory.position, True, ([],))
                if token_text
                else self._planned(query, None, caller, entity)
            )
        key = uuid.uuid4().hex
        if len(chain.pages) > 1:
            self._keep(key, chain)
        return self._delta_page(base, chain, key, 0, entity)

    def _delta_query(self, call: Call, kind: Kind, entity: EntityType, caller: Caller) -> delta.Query:
        names = queries.select(call, entity)
        for name in names or ():
            if name in entity.untracked:
                raise unsupported(f"Change tracking is not supported for property '{name}'.")
            if name in entity.outside_directory:
                raise GraphError(
                    501, "NotImplemented", f"Change tracking is not supported for property '{name}'."
                )
        self._check_selected(names, caller)
        relations = tuple(name for name in names or () if name in entity.delta_relations)
        properties = None if names is None else tuple(name for name in names if entity.knows(name))
        return delta.Query(kind, properties, relations, queries.filtered_ids(call))

    def _planned(
        self, query: delta.Query, since: int | None, caller: Caller, entity: EntityType
    ) -> delta.Chain:
        tenant, directory = self._tenant, self._tenant.directory
        hide = "Member.Read.Hidden" not in caller.roles
        if since is None:
            entries = list(delta.initial_entries(directory, query, hide))
        else:
            entries = list(delta.changed_entries(directory, query, since, entity, hide))
        if tenant.delta_scatter:
            entries = delta.scattered(entries, max(1, tenant.delta_page_links // 10), directory.position)
        if since is None and tenant.delta_removed_on_first_pass:
            gone = directory.deleted_users if query.kind == "user" else directory.deleted_groups
            entries = [delta.Entry(object_id, removed="changed") for object_id in gone] + entries
        pages = delta.paged(entries, tenant.delta_page_objects, tenant.delta_page_links)
        if tenant.delta_replay_every:
            pages = delta.with_replays(pages, tenant.delta_replay_every)
        if tenant.delta_empty_page_every:
            pages = delta.with_empty_pages(pages, tenant.delta_empty_page_every)
        return delta.Chain(query, directory.position, since is None, tuple(pages))

    def _delta_page(self, base: str, chain: delta.Chain, key: str, number: int, entity: EntityType) -> Reply:
        names = ",".join((*(chain.query.select or ()), *chain.query.relations))
        origin = base.split("/v1.0/")[0]
        page: JsonObject = {"@odata.context": f"{origin}/v1.0/$metadata#{chain.query.kind}s({names})"}
        if number + 1 < len(chain.pages):
            page["@odata.nextLink"] = f"{base}?$skiptoken={key}.{number + 1}"
        else:
            query = chain.query
            self.links_issued += 1
            token = delta.DeltaToken(
                tenant=self._tenant.instance,
                serial=self.links_issued,
                issued=self._tenant.clock(),
                position=chain.position,
                kind=query.kind,
                select=query.select,
                relations=query.relations,
                ids=tuple(query.ids) if query.ids is not None else None,
            )
            page["@odata.deltaLink"] = f"{base}?$deltatoken={token.encoded()}"
        page["value"] = delta.rendered_page(self._tenant.directory, chain, number, entity)
        return json_reply(page, content_type=GRAPH_JSON)

    def _delta_token(self, text: str, kind: Kind, base: str) -> delta.DeltaToken:
        try:
            token = delta.DeltaToken.decoded(text)
        except ValueError as error:
            raise bad_request("Badly formed token.") from error
        if token.kind != kind:
            raise bad_request("Badly formed token.")
        tenant = self._tenant
        lifetime = tenant.delta_token_lifetime
        if (
            token.tenant != tenant.instance
            or token.serial <= tenant.delta_tokens_expired_to
            or (lifetime is not None and token.issued + lifetime < tenant.clock())
            or not tenant.directory.remembers(token.position)
        ):
            if tenant.delta_expiry == "syncStateNotFound":
                raise bad_request(
                    "The sync state generation is not found; a new synchronization is needed.",
                    "syncStateNotFound",
                )
            raise GraphError(
                410,
                "resyncRequired",
                "The delta token is too old; start again from the location.",
                {"Location": f"{base}?$deltatoken="},
            )
        return token

    # --- users and groups -------------------------------------------------------------------------

    def _users(self, call: Call, caller: Caller, _match: re.Match[str]) -> Reply:
        names = queries.select(call, USER)
        self._check_selected(names, caller)
        with_sign_in = names is not None and "signInActivity" in names
        size = min(queries.top(call), queries.SIGN_IN_PAGE) if with_sign_in else queries.top(call)
        expansion = queries.expand(call, frozenset({"manager"}))

        def rendered(object_id: str) -> JsonObject | None:
            user = self._tenant.directory.users.get(object_id)
            return None if user is None else self._rendered_user(user, names, expansion)

        return self._list(
            call, self._tenant.directory.users, queries.FILTERABLE_USER, size, rendered, "users", names
        )

    def _user(self, call: Call, caller: Caller, match: re.Match[str]) -> Reply:
        names = queries.select(call, USER)
        self._check_selected(names, caller)
        user = self._tenant.directory.find_user(match["id"])
        if user is None:
            raise not_found(match["id"])
        expansion = queries.expand(call, frozenset({"manager"}))
        context = {"@odata.context": f"{call.origin}/v1.0/$metadata#users/$entity"}
        return json_reply(context | self._rendered_user(user, names, expansion), content_type=GRAPH_JSON)

    def _rendered_user(
        self,
        user: Mapping[str, Any],
        names: tuple[str, ...] | None,
        expansion: queries.Expansion | None,
    ) -> JsonObject:
        directory = self._tenant.directory
        content = queries.projected(user, names, USER.default)
        if "signInActivity" in content:
            del content["signInActivity"]
            if user["id"] in directory.sign_ins:
                content["signInActivity"] = directory.sign_ins[user["id"]]
        if expansion is not None:
            manager = directory.users.get(directory.managers.get(user["id"], ""))
            if manager is not None:
                content["manager"] = {
                    "@odata.type": "#microsoft.graph.user",
                    **queries.projected(manager, expansion.select, USER.default),
                }
        return content

    def _groups(self, call: Call, caller: Caller, _match: re.Match[str]) -> Reply:
        names = queries.select(call, GROUP)
        expansion = queries.expand(call, frozenset({"members", "owners"}))

        def rendered(object_id: str) -> JsonObject | None:
            group = self._tenant.directory.groups.get(object_id)
            return None if group is None else self._rendered_group(group, names, expansion, caller)

        return self._list(
            call,
            self._tenant.directory.groups,
            queries.FILTERABLE_GROUP,
            queries.top(call),
            rendered,
            "groups",
            names,
        )

    def _group(self, call: Call, caller: Caller, match: re.Match[str]) -> Reply:
        names = queries.select(call, GROUP)
        group = self._tenant.directory.groups.get(match["id"])
        if group is None:
            raise not_found(match["id"])
        expansion = queries.expand(call, frozenset({"members", "owners"}))
        context = {"@odata.context": f"{call.origin}/v1.0/$metadata#groups/$entity"}
        return json_reply(
            context | self._rendered_group(group, names, expansion, caller), content_type=GRAPH_JSON
        )

    def _rendered_group(
        self,
        group: Mapping[str, Any],
        names: tuple[str, ...] | None,
        expansion: queries.Expansion | None,
        caller: Caller,
    ) -> JsonObject:
        content = queries.projected(group, names, GROUP.default)
        if expansion is not None:
            links = self._links(group["id"], expansion.relation, caller)
            content[expansion.relation] = [
                self._rendered_link(object_id, object_type, expansion.select, caller)
                for object_id, object_type in itertools.islice(links, queries.MAX_EXPANDED)
            ]
        return content

    def _count_users(self, call: Call, _caller: Caller, _match: re.Match[str]) -> Reply:
        return self._count(call, self._tenant.directory.users, queries.FILTERABLE_USER)

    def _count_groups(self, call: Call, _caller: Caller, _match: re.Match[str]) -> Reply:
        return self._count(call, self._tenant.directory.groups, queries.FILTERABLE_GROUP)

    def _count(self, call: Call, objects: Mapping[str, JsonObject], filterable: frozenset[str]) -> Reply:
        if not queries.is_eventual(call):
            raise bad_request("$count is not currently supported.", "Request_BadRequest")
        test = queries.matching(call, filterable)
        number = len(objects) if test is None else sum(map(test, objects.values()))
        return Reply(200, str(number).encode(), content_type="text/plain")

    # --- members and owners -----------------------------------------------------------------------

    def _group_links(self, call: Call, caller: Caller, match: re.Match[str]) -> Reply:
        group_id, relation = match["id"], match["relation"]
        if group_id not in self._tenant.directory.groups:
            raise not_found(group_id)
        names = queries.select(call, USER)
        links = dict(self._links(group_id, relation, caller))
        if match["cast"]:
            links = {key: kind for key, kind in links.items() if kind == match["cast"]}
        elif not (queries.is_eventual(call) and "$count" in call.query):
            links = {key: kind for key, kind in links.items() if kind != "servicePrincipal"}

        def rendered(object_id: str) -> JsonObject | None:
            return self._rendered_link(object_id, links.get(object_id, "user"), names, caller)

        return self._list(
            call, dict.fromkeys(links), frozenset(), queries.top(call), rendered, "directoryObjects", names
        )

    def _links(self, group_id: str, relation: str, caller: Caller) -> Iterable[tuple[str, str | None]]:
        """The edges to objects that are there; hidden ones only for a caller that may see them."""
        directory = self._tenant.directory
        if (
            relation == "members"
            and "Member.Read.Hidden" not in caller.roles
            and delta.is_hidden(directory, group_id)
        ):
            return ()
        edges = directory.members if relation == "members" else directory.owners
        return (
            (object_id, object_type)
            for object_id, object_type in edges[group_id].items()
            if object_id not in directory.deleted_users and object_id not in directory.deleted_groups
        )

    def _rendered_link(
        self, object_id: str, object_type: str | None, names: tuple[str, ...] | None, caller: Caller
    ) -> JsonObject:
        """A member with its properties; null ones where the caller may not read its type."""
        directory = self._tenant.directory
        content: JsonObject = (
            {} if object_type is None else {"@odata.type": f"#microsoft.graph.{object_type}"}
        )
        if object_type == "user":
            stored = directory.users.get(object_id)
            readable, default = caller.has(READ_USERS), USER.default
        elif object_type == "group":
            stored = directory.groups.get(object_id)
            readable, default = True, GROUP.default
        else:
            stored = directory.others.get(object_id)
            readable, default = caller.has(("Directory.Read.All",)), ("id", "displayName")
        known = stored if stored is not None and readable else {"id": object_id}
        return content | queries.projected(known, names, default)

    # --- authentication ---------------------------------------------------------------------------

    def _methods(self, call: Call, _caller: Caller, match: re.Match[str]) -> Reply:
        directory = self._tenant.directory
        user = directory.find_user(match["id"])
        if user is None:
            raise not_found(match["id"])
        context = f"{call.origin}/v1.0/$metadata#users('{match['id']}')/authentication/methods"
        return json_reply(
            {"@odata.context": context, "value": directory.methods.get(user["id"], [])},
            content_type=GRAPH_JSON,
        )

    def _registrations(self, call: Call, caller: Caller, _match: re.Match[str]) -> Reply:
        caller.require_audit_log()
        directory = self._tenant.directory
        covered = {
            user_id: row
            for user_id, row in directory.registrations.items()
            if directory.users.get(user_id, {}).get("accountEnabled")
        }
        return self._list(
            call,
            covered,
            queries.FILTERABLE_REGISTRATION,
            queries.top(call),
            directory.registrations.get,
            "reports/authenticationMethods/userRegistrationDetails",
            None,
        )

    def _registration(self, call: Call, caller: Caller, match: re.Match[str]) -> Reply:
        """One row of the report, which does not cover disabled users."""
        caller.require_audit_log()
        directory, user_id = self._tenant.directory, match["id"]
        row = directory.registrations.get(user_id)
        if row is None or not directory.users.get(user_id, {}).get("accountEnabled"):
            raise not_found(user_id)
        path = "reports/authenticationMethods/userRegistrationDetails/$entity"
        context = f"{call.origin}/v1.0/$metadata#{path}"
        return json_reply({"@odata.context": context, **row}, content_type=GRAPH_JSON)

    # --- deleted items ---------------------------------------------------------------------------

    def _deleted_items(self, call: Call, caller: Caller, match: re.Match[str]) -> Reply:
        users = match["cast"] == "user"
        caller.require(READ_USERS if users else READ_GROUPS)
        objects = self._tenant.directory.deleted_users if users else self._tenant.directory.deleted_groups
        entity = USER if users else GROUP
        names = queries.select(call, entity)

        def rendered(object_id: str) -> JsonObject | None:
            stored = objects.get(object_id)
            return None if stored is None else queries.projected(stored, names, entity.default)

        return self._list(
            call,
            objects,
            queries.FILTERABLE_USER if users else queries.FILTERABLE_GROUP,
            queries.top(call),
            rendered,
            "directoryObjects",
            names,
        )

    def _deleted_item(self, call: Call, caller: Caller, match: re.Match[str]) -> Reply:
        directory = self._tenant.directory
        user, group = directory.deleted_users.get(match["id"]), directory.deleted_groups.get(match["id"])
        caller.require(READ_GROUPS if group is not None else READ_USERS)
        stored, entity = (user, USER) if user is not None else (group, GROUP)
        if stored is None:
            raise not_found(match["id"])
        names = queries.select(call, entity) or (*entity.default, "deletedDateTime")
        head = {
            "@odata.context": f"{call.origin}/v1.0/$metadata#directoryObjects/$entity",
            "@odata.type": f"#{entity.name}",
        }
        return json_reply(head | queries.projected(stored, names, ()), content_type=GRAPH_JSON)

    # --- shared by the resources ------------------------------------------------------------------

    def _check_selected(self, names: tuple[str, ...] | None, caller: Caller) -> None:
        """Some properties of a user need more than the permission to read users."""
        if names is None:
            return
        if "employeeLeaveDateTime" in names:
            caller.require(("User-LifeCycleInfo.Read.All",))
        if "signInActivity" in names:
            caller.require_audit_log()

    def _list(
        self,
        call: Call,
        objects: Mapping[str, Any],
        filterable: frozenset[str],
        size: int,
        rendered: Callable[[str], JsonObject | None],
        context: str,
        names: tuple[str, ...] | None,
    ) -> Reply:
        """One page of a collection. Its ids are fixed at the first page; what is gone by then is left out."""
        queries.refuse_unknown(call, _LIST_OPTIONS)
        queries.refuse(call, "$orderby")
        if "$search" in call.query:
            raise unsupported("The sandbox does not search.")
        counting = call.query.get("$count", "").lower() == "true"
        number = 0
        if "$skiptoken" in call.query:
            key, number = self._page_of(call.query["$skiptoken"])
            cursor = self._cursors.get(key)
            if not isinstance(cursor, Cursor):
                raise _expired_page_token()
            if cursor.counted and not queries.is_eventual(call):
                raise unsupported("The header 'ConsistencyLevel: eventual' must be sent with every page.")
        else:
            test = queries.matching(call, filterable)
            ids = tuple(objects) if test is None else tuple(k for k, v in objects.items() if test(v))
            size = min(size, self._tenant.list_page_objects)
            key = uuid.uuid4().hex
            cursor = Cursor(ids, size, counting and queries.is_eventual(call))
            if len(ids) > size:
                self._keep(key, cursor)
        start, end = number * cursor.size, (number + 1) * cursor.size
        suffix = f"({','.join(names)})" if names else ""
        page: JsonObject = {"@odata.context": f"{call.origin}/v1.0/$metadata#{context}{suffix}"}
        if cursor.counted and number == 0:
            page["@odata.count"] = len(cursor.ids)
        if end < len(cursor.ids):
            options = {**call.query, "$skiptoken": f"{key}.{number + 1}"}
            text = "&".join(f"{name}={quote(value, safe='$(),=.')}" for name, value in options.items())
            page["@odata.nextLink"] = f"{call.origin}/v1.0{call.path}?{text}"
        page["value"] = [
            content for object_id in cursor.ids[start:end] if (content := rendered(object_id)) is not None
        ]
        return json_reply(page, content_type=GRAPH_JSON)

    def _keep(self, key: str, cursor: Cursor | delta.Chain) -> None:
        self._cursors[key] = cursor
        while len(self._cursors) > _KEPT_CURSORS:
            self._cursors.popitem(last=False)

    @staticmethod
    def _page_of(token: str) -> tuple[str, int]:
        key, _, number = token.rpartition(".")
        if not key or not number.isdecimal():
            raise bad_request("The skip token is malformed.")
        return key, int(number)


def _expired_page_token() -> GraphError:
    return GraphError(
        400,
        "Directory_ExpiredPageToken",
        "The specified page token value has expired and can no longer be included in your request.",
    )
