"""Renders pages: one frame (menu, status line, unsaved changes) around a template; forms in, redirects out.

Everything works without JavaScript: a form is posted, and what it did is said on the page that follows."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from jinja2 import DictLoader, Environment, StrictUndefined
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cmail.web import filters
from cmail.web.context import WebContext
from cmail.web.desk import DraftError
from cmail.web.forms import sentence
from cmail.web.labels import label

FORM_FIELDS_MAX: Final = 2000
FORM_OCTETS_MAX: Final = 1 << 20  # of one field


def _read_folder(name: str) -> dict[str, bytes]:
    folder = os.path.join(os.path.dirname(__file__), name)
    files = {}
    for entry in sorted(os.listdir(folder)):
        with open(os.path.join(folder, entry), "rb") as file:
            files[entry] = file.read()
    return files


# Read when this is imported: with the rights of root, where the user of the server could not come here.
TEMPLATES: Final = {name: octets.decode() for name, octets in _read_folder("templates").items()}
STATIC: Final = _read_folder("static")
_HASHES: Final = {name: sha256(octets).hexdigest()[:12] for name, octets in STATIC.items()}

# The Configuration menu: path and words.
MENU: Final = (
    ("/", "Home"),
    ("/smtp", "SMTP Configuration"),
    ("/advanced", "Advanced SMTP Configuration"),
    ("/host", "Host Configuration"),
    ("/links", "Links to the Internet"),
    ("/kicks", "Kicks"),
    ("/collect", "Mailboxes elsewhere"),
    ("/sites", "Sites"),
    ("/users", "Users and Aliases"),
    ("/queue", "Mail Queue Administration"),
    ("/link", "The Link"),
    ("/log", "Log"),
    ("/engine", "Engine Monitor"),
    ("/quarantine", "Quarantine"),
    ("/checks", "Checks"),
    ("/save", "Save Settings"),
)


class Session(Protocol):
    """Who looks at the page; web/door.py puts it into the scope of a request."""

    name: str
    csrf: str

    def say(self, words: str, kind: str = "done") -> None:
        """To be shown on the next page. kind: done | failed | note."""
        ...

    def take_said(self) -> Sequence[tuple[str, str]]:
        """kind and words of what was said since the last page."""
        ...


@dataclass(slots=True)
class Nobody:
    """Where there are no sessions: a page shown by itself."""

    name: str = ""
    csrf: str = ""

    def say(self, words: str, kind: str = "done") -> None:
        """Nobody hears it."""

    def take_said(self) -> Sequence[tuple[str, str]]:
        """Nothing."""
        return ()


def session_of(request: Request) -> Session:
    """Who asks."""
    found: Session = request.scope.get("session") or Nobody()
    return found


class Pages:
    """The frame and its templates."""

    def __init__(self, context: WebContext) -> None:
        self.context = context
        self._templates = Environment(
            loader=DictLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters.update(filters.FILTERS)
        self._templates.filters.update(label=label, sentence=sentence)
        self._templates.globals["static"] = static_path

    async def show(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        """A whole page."""
        session = session_of(request)
        frame = {
            "menu": MENU,
            "path": request.url.path,
            "session": session,
            "said": session.take_said(),
            "overview": await self.context.overviews.get(),
            "changes_count": self._changes_count(),
            "hostname": self.context.hostname(),
            "version": self.context.version,
        }
        return HTMLResponse(self.text(template, **frame, **values), status)

    def _changes_count(self) -> int:
        """What is drafted; 0 while the file cannot be read: that is said among what needs attention."""
        try:
            return len(self.context.desk.changes())
        except DraftError:
            return 0

    async def show_alone(
        self, request: Request, template: str, *, status: int = 200, **values: Any
    ) -> Response:
        """A page for who is not in: without menu, status line or figures."""
        return HTMLResponse(self.text(template, hostname=self.context.hostname(), **values), status)

    async def show_part(self, request: Request, template: str, **values: Any) -> Response:
        """A part of a page, for what is refreshed while it is looked at."""
        session = session_of(request)
        overview = await self.context.overviews.get()
        return HTMLResponse(self.text(template, session=session, overview=overview, **values))

    def text(self, template: str, **values: Any) -> str:
        """A template with its values."""
        return self._templates.get_template(template).render(values)


def go_to(request: Request, path: str, words: str = "", kind: str = "done", **query: str) -> Response:
    """After a form: look at this page (303: a reload does not post again), where `words` are shown."""
    if words:
        session_of(request).say(words, kind)
    target = f"{path}?{urlencode(query)}" if query else path
    return RedirectResponse(target, 303)


async def read_form(request: Request) -> FormData:
    """The fields of a posted form, no files."""
    return await request.form(max_files=0, max_fields=FORM_FIELDS_MAX, max_part_size=FORM_OCTETS_MAX)


def text_of(form: FormData | Mapping[str, Any], name: str) -> str:
    """A field without the spaces around it; "" when it is not there."""
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


def static_path(name: str) -> str:
    """Where a file of static/ is fetched: with its hash, so that it may be kept for ever."""
    return f"/static/{name}?v={_HASHES[name]}"
