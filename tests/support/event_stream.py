"""EventStream: listens to Server-Sent Events as a browser does."""

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit


class EventStream:
    """`answer`: the response, its header there and its body to come."""

    def __init__(self, url: str, path: str, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._connection.request("GET", path, headers=dict(headers))
        self.answer = self._connection.getresponse()

    def event(self) -> dict[str, str]:
        """The next one, with its fields; comments are passed over."""
        fields: dict[str, str] = {}
        while (line := self.answer.readline().decode().rstrip("\n")) or not fields:
            name, colon, value = line.partition(": ")
            if colon:
                fields[name] = f"{fields[name]}\n{value}" if name in fields else value
        return fields

    def close(self) -> None:
        """Listen no more."""
        self.answer.close()
        self._connection.close()
