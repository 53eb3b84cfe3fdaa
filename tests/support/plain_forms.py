"""PlainBrowser: a browser without JavaScript, as far as forms go: it keeps cookies, reads the forms of a page, and
posts one as it stands but for what somebody has typed."""

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import Any

Typed = Mapping[str, str | bool]


@dataclass
class Form:
    """What would be posted if nobody typed anything."""

    action: str
    values: dict[str, str] = field(default_factory=dict)
    boxes: dict[str, str] = field(
        default_factory=dict
    )  # check boxes, ticked or not, and what they say when ticked
    names: set[str] = field(default_factory=set)  # of all controls
    buttons: list[tuple[str, str, str]] = field(default_factory=list)  # formaction, name, value


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self.text = ""
        self._form: Form | None = None
        self._area = self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(has.get("action", ""))
            self.found.append(self._form)
        if self._form is None:
            return
        name = has.get("name", "")
        if tag == "button":
            self._form.buttons.append((has.get("formaction", ""), name, has.get("value", "")))
        elif tag in ("input", "textarea", "select") and name:
            self._form.names.add(name)
        if tag == "input" and name:
            self._input(self._form, name, has)
        elif tag == "textarea":
            self._area = name
            self._form.values[name] = ""
        elif tag == "select":
            self._select = name
        elif (
            tag == "option" and self._select and ("selected" in has or self._select not in self._form.values)
        ):
            self._form.values[self._select] = has.get("value", "")

    @staticmethod
    def _input(form: Form, name: str, has: Mapping[str, str]) -> None:
        kind = has.get("type", "text")
        if kind == "checkbox":
            form.boxes[name] = has.get("value", "on")
        if kind not in ("checkbox", "radio") or "checked" in has:
            form.values[name] = has.get("value", "on" if kind == "checkbox" else "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea":
            self._area = ""
        elif tag == "select":
            self._select = ""

    def handle_data(self, data: str) -> None:
        if self._area and self._form is not None:
            self._form.values[self._area] += data
        else:
            self.text += " " + data


@dataclass
class Page:
    """What came back."""

    status: int
    forms: list[Form]
    text: str

    def form(self, action: str) -> Form:
        """The form that posts there."""
        return next(form for form in self.forms if form.action == action)


class PlainBrowser:
    """One person."""

    def __init__(self, url: str) -> None:
        self.url = url
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        self._opener = urllib.request.build_opener(cookies, urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Page:
        """A page."""
        return self._fetch(path, None)

    def post(self, path: str, action: str, typed: Typed, press: tuple[str, str] | None = None) -> Page:
        """The form of a page with what is typed, sent by its first button or by the one with this name and value.
        What is typed has to have its control."""
        form = self.get(path).form(action)
        assert set(typed) <= form.names, f"{set(typed) - form.names} on {path}"
        values = dict(form.values)
        for name, value in typed.items():
            if value is False:
                values.pop(name, None)
            else:
                values[name] = form.boxes[name] if value is True else str(value)
        if press:
            assert ("", *press) in form.buttons, f"{press} on {path}"
            values[press[0]] = press[1]
        return self.send(action, values)

    def send(self, path: str, values: Mapping[str, str]) -> Page:
        """These values, whatever the form had."""
        return self._fetch(path, urllib.parse.urlencode(values).encode())

    def _fetch(self, path: str, octets: bytes | None) -> Page:
        headers: dict[str, Any] = {"origin": self.url} if octets is not None else {}
        request = urllib.request.Request(self.url + path, octets, headers)
        try:
            with self._opener.open(request, timeout=60) as answer:
                return _page(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            return _page(error.code, error.read())


def read_forms(text: str) -> list[Form]:
    """The forms of a page, for who has it by other ways."""
    return _page(200, text.encode()).forms


def _page(status: int, octets: bytes) -> Page:
    reader = _Forms()
    reader.feed(octets.decode())
    return Page(status, reader.found, " ".join(reader.text.split()))
