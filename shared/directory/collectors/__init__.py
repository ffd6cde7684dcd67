"""How each dataset is read from Graph: one file a dataset, one interface, one loop (`slices`)."""

from shared.directory.collectors.authentication import AuthenticationCollector
from shared.directory.collectors.deleted_users import DeletedUsersCollector
from shared.directory.collectors.groups import GroupsCollector
from shared.directory.collectors.interface import Collector
from shared.directory.collectors.reported import ReportedGroupsCollector, ReportedUsersCollector
from shared.directory.collectors.sign_in import SignInCollector
from shared.directory.collectors.users import UsersCollector

COLLECTORS: dict[str, type[Collector]] = {
    collector.dataset: collector
    for collector in (
        UsersCollector,
        GroupsCollector,
        AuthenticationCollector,
        SignInCollector,
        DeletedUsersCollector,
        ReportedUsersCollector,
        ReportedGroupsCollector,
    )
}
