"""Route templates of HTTP triggers, matched as ASP.NET matches them: any case, literals before parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from sandbox.host.errors import InvalidSetting, UnsupportedApp

_PARAMETER = re.compile(r"\{(?P<all>\*{0,2})(?P<name>\w+)(?::(?P<constraint>[^}?]+))?(?P<optional>\?)?\}")
_CONSTRAINTS = {
    "int": r"-?\d+",
    "long": r"-?\d+",
    "guid": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "alpha": "[a-z]+",
}


@dataclass(frozen=True)
class Route:
    """One function's template, for some methods (all when empty)."""

    function: str
    template: str
    methods: frozenset[str]
    pattern: re.Pattern[str]
    rank: tuple[int, ...]
    """One number a segment: 0 literal, 1 constrained parameter, 2 parameter, 3 the rest of the path."""

    def answers(self, method: str) -> bool:
        return not self.methods or method in self.methods


class RouteTable:
    """Finds the function for a method and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = sorted(routes, key=lambda route: route.rank)
        for index, route in enumerate(self._routes):
            for other in self._routes[index + 1 :]:
                same_methods = not route.methods or not other.methods or route.methods & other.methods
                if route.pattern == other.pattern and same_methods:
                    raise InvalidSetting(
                        f"{route.function} and {other.function} answer the same route /{route.template}."
                    )

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
        """The route and its decoded parameters. None is 404, for a wrong method too, as in the real host."""
        for route in self._routes:
            match = route.pattern.fullmatch(raw_path.strip("/"))
            if match and route.answers(method):
                return route, {name: _decode(value) for name, value in match.groupdict().items() if value}
        return None


def parse_route(function: str, template: str, methods: Iterable[str], prefix: str) -> Route:
    """Compile `directory/{id:int?}` under the prefix. Raises InvalidSetting or UnsupportedApp."""
    whole = f"{prefix}/{template.strip('/')}".strip("/")
    expression = ""
    rank = []
    for segment in whole.split("/"):
        pattern, kind = _segment(function, segment)
        optional = bool(re.fullmatch(r"\{[^}]*\?\}", segment)) or kind == 3
        separator = "/" if expression else ""
        expression += f"(?:{separator}{pattern})?" if optional else separator + pattern
        rank.append(kind)
    return Route(
        function=function,
        template=whole,
        methods=frozenset(method.upper() for method in methods),
        pattern=re.compile(expression, re.IGNORECASE),
        rank=tuple(rank),
    )


def _decode(value: str) -> str:
    """Percent-decode all but `%2F`, which ASP.NET leaves alone in a path."""
    return "%2F".join(unquote(part) for part in re.split("%2F", value, flags=re.IGNORECASE))


def _segment(function: str, segment: str) -> tuple[str, int]:
    expression = ""
    kind = 0
    position = 0
    for match in _PARAMETER.finditer(segment):
        literal = segment[position : match.start()]
        expression += _literal(function, literal)
        constraint = match["constraint"]
        if constraint and constraint not in _CONSTRAINTS:
            raise UnsupportedApp(
                f"{function}: this local host does not know the constraint {constraint!r} in {segment}."
            )
        value = _CONSTRAINTS[constraint] if constraint else ".*" if match["all"] else "[^/]+"
        expression += f"(?P<{match['name']}>{value})"
        kind = max(kind, 3 if match["all"] else 1 if constraint else 2)
        position = match.end()
    return expression + _literal(function, segment[position:]), kind


def _literal(function: str, text: str) -> str:
    if "{" in text or "}" in text:
        raise InvalidSetting(f"{function}: the route has an unbalanced brace in {text!r}.")
    return re.escape(text)
