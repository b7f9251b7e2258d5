"""Who hears what on a line: topics with the names they were asked for, and the handlers that are called for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from contract.topics import Topic

Handler = Callable[[dict[str, str], bytes], Awaitable[None]]


class TopicRoutes:
    """The routes of one channel, in the order in which they were added."""

    def __init__(self) -> None:
        self._routes: list[tuple[Topic, dict[str, str], Handler]] = []

    def add(self, topic: Topic, names: dict[str, str], handler: Handler) -> None:
        """Let `handler` hear `topic`; fields not given in `names` match everything."""
        self._routes.append((topic, names, handler))

    def filters(self) -> list[str]:
        """What has to be subscribed to."""
        return sorted({topic.filter_for(**names) for topic, names, _ in self._routes})

    def hearing(self, topic_name: str) -> Iterator[tuple[Topic, dict[str, str], Handler]]:
        """Who hears this, each with the topic it asked for and the names in this one."""
        levels = topic_name.split("/")
        for topic, wanted, handler in self._routes:
            names = topic.names_in(levels)
            if names is not None and all(wanted.get(field, name) == name for field, name in names.items()):
                yield topic, names, handler
