"""First run: four questions, a page each with Back and Next; then it tries, saves, and sends a message."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.admin import setup
from cmail.admin.overview import Attention, Overview
from cmail.admin.people import good_password, words_of
from cmail.admin.setup import Answers, Errors
from cmail.admin.upstream_steps import Step
from cmail.mail.address import AddressSyntaxError
from cmail.net.control import ControlError
from cmail.storage.account_book import AccountError
from cmail.web import providers
from cmail.web.desk import Desk, DraftError, Problem
from cmail.web.labels import label
from cmail.web.page import Pages, go_to, read_form, session_of, text_of
from cmail.web.pages.dialog import UNPROCESSABLE
from cmail.web.pages.setup_trial import Trials

# The pages in their order: path, what is asked.
STEPS: Final = (
    ("domain", "Your domain"),
    ("out", "How mail goes out"),
    ("people", "Who uses it"),
    ("in", "How mail comes in"),
    ("check", "Try and save"),
    ("test", "A message goes through"),
)
_ORDER: Final = [name for name, _ in STEPS]
_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "domain": ("domain", "hostname"),
    "out": ("way_out", "host", "port", "tls", "username", "smtp_password"),
    "people": ("user", "password"),
    "in": ("way_in", "port_in"),
}
_SECRETS: Final = ("smtp_password", "password")  # left empty they stay as they were
_FLAGS: Final[Mapping[str, Sequence[str]]] = {"in": ("has_network", "is_later")}
_NOT_YET: Final = "This is not answered yet."
_UPSTREAM: Final = ("smtp.host", "smtp.port", "smtp.tls", "smtp.username")
_PASSWORD_KEY: Final = "smtp.password_file"


class Assistant:
    """The answers so far, kept in this process: Back and Next lose nothing."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._desk: Desk = pages.context.desk
        self._data_dir = pages.context.data_dir
        self._answers: Answers | None = None
        self._kept_secret = ""  # the password that stands in the draft
        self._password = ""  # one that we made, to be shown at the end
        self._done: Sequence[str] = ()
        self._trials = Trials(self._data_dir, self._saved)

    def _saved(self, key: str) -> Any:
        """A setting as the file has it."""
        return self._desk.settings()[key].saved

    def is_new(self) -> bool:
        """Whether nothing is set up yet."""
        return setup.is_new(str(self._saved("host.hostname")), self._saved("host.domains"))

    @property
    def answers(self) -> Answers:
        """Those so far; at first what the file says, if anybody has changed it."""
        if self._answers is None:
            values = {key: view.saved for key, view in self._desk.settings().items()}
            self._answers = Answers() if self.is_new() else setup.answers_of(values)
        return self._answers

    async def find_unfinished(self, _: Overview) -> Sequence[Attention]:
        """See admin.overview.Finder: who left the first run finds the way back."""
        try:
            is_untouched = self.is_new() and not self._saved("smtp.host")
        except DraftError:
            return ()  # the file cannot be read: others say so
        words, advice = "This server is not set up yet.", "Four questions, then a message goes through."
        return [Attention(words, advice, "/setup")] if is_untouched else ()

    async def _supervisor(self) -> int:
        """Who would open a port; 0 when it does not answer."""
        try:
            return int((await self._pages.context.processes.ask("supervisor", "status")).ok["pid"])
        except ControlError:
            return 0

    async def _show(self, request: Request, step: str, status: int = 200, **values: Any) -> Response:
        session = session_of(request)
        number = _ORDER.index(step)
        return await self._pages.show_alone(
            request,
            f"setup_{step}.html",
            status=status,
            title=STEPS[number][1],
            steps=STEPS,
            step=step,
            number=number,
            before=_ORDER[max(number - 1, 0)],
            session=session,
            said=session.take_said(),
            a=self.answers,
            setup=setup,
            **values,
        )

    # The four questions.

    async def question(self, request: Request) -> Response:
        """GET /setup/domain, out, people, in."""
        return await self._ask(request, request.path_params["step"])

    async def _ask(
        self,
        request: Request,
        step: str,
        errors: Errors | None = None,
        tried: Sequence[Step] = (),
        hint: str = "",
    ) -> Response:
        if step not in _FIELDS:
            return go_to(request, "/setup")
        has_password = bool(self.answers.smtp_password or self._desk.settings()[_PASSWORD_KEY].value)
        return await self._show(
            request,
            step,
            UNPROCESSABLE if errors else 200,
            errors=errors or {},
            tried=tried,
            hint=hint,
            has_password=has_password,
            providers=providers.groups(),
        )

    async def answer(self, request: Request) -> Response:
        """POST: Next, Back, and the other buttons of a question."""
        step = request.path_params["step"]
        if step not in _FIELDS:
            return go_to(request, "/setup")
        form = await read_form(request)
        given = {name: str(form.get(name, "")) for name in _FIELDS[step] if name in form}
        values: dict[str, Any] = {name: name in form for name in _FLAGS.get(step, ())}
        values |= {name: text for name, text in given.items() if text or name not in _SECRETS}
        self._answers = replace(self.answers, **values)
        go = text_of(form, "go")
        if go == "back":
            return go_to(request, f"/setup/{_ORDER[max(_ORDER.index(step) - 1, 0)]}")
        if go == "fill":
            return await self._fill(request, text_of(form, "provider"))
        self._answers, errors = await self._check(step)
        if errors:
            return await self._ask(request, step, errors)
        if go == "test":
            return await self._ask(request, step, tried=await self._try())
        return go_to(request, f"/setup/{_ORDER[_ORDER.index(step) + 1]}")

    async def _check(self, step: str) -> tuple[Answers, Errors]:
        match step:
            case "domain":
                return setup.check_domain(self.answers)
            case "out":
                return setup.check_way_out(self.answers)
            case "people":
                return setup.check_user(self.answers)
            case _:
                supervisor, listeners = await self._supervisor(), self._saved("listener")
                return await asyncio.to_thread(setup.check_way_in, self.answers, listeners, supervisor)

    async def _fill(self, request: Request, name: str) -> Response:
        found = providers.find(name)
        if found is None:
            return await self._ask(request, "out")
        self._answers = replace(
            self.answers, way_out="host", host=found.host, port=str(found.port), tls=found.tls
        )
        return await self._ask(request, "out", hint=found.hint)

    async def _try(self) -> Sequence[Step]:
        """Talk to the provider's server."""
        if self.answers.way_out != "host":
            return ()
        is_offline = (await self._pages.context.overviews.get()).is_online is False
        ca_file = str(self._saved("tls.ca_file") or "")
        return await setup.try_way_out(
            self.answers, self._saved("dns.servers"), ca_file, is_offline=is_offline
        )

    # Try and save.

    async def check(self, request: Request) -> Response:
        """GET /setup/check: what will be changed, what is wrong with it, and a trial of the way out."""
        if step := await self._first_unanswered():
            return go_to(request, f"/setup/{step}", _NOT_YET, "note")
        problems = await self._draft(request)
        return await self._show_check(request, problems, is_tried="try" in request.query_params)

    async def live_try(self, request: Request) -> Response:
        """GET /live/setup/try: the trial alone."""
        return await self._pages.show_part(request, "setup_tried.html", tried=await self._try())

    async def _show_check(
        self, request: Request, problems: Sequence[Problem], *, status: int = 200, is_tried: bool = False
    ) -> Response:
        changes = self._desk.changes()
        return await self._show(
            request,
            "check",
            status,
            changes=[change for change in changes if change.key != _PASSWORD_KEY],
            has_password=any(change.key == _PASSWORD_KEY and change.new for change in changes),
            problems=problems,
            conflicts=self._desk.conflicts(),
            is_tried=is_tried,
            tried=await self._try() if is_tried else (),
            later=await self._later(),
            label=label,
        )

    async def _first_unanswered(self) -> str:
        for step in _FIELDS:
            _, errors = await self._check(step)
            if errors:
                return step
        return ""

    async def _draft(self, request: Request) -> Sequence[Problem]:
        """The answers into the draft; what the check of the settings says to them."""
        by, later = session_of(request).name, await self._later()
        listeners = setup.listeners_of(self.answers, self._saved("listener"))
        now = [each for each in listeners if each["address"] not in later]
        try:
            self._draft_secret(by)
            values = {key: self._saved(key) for key in _UPSTREAM}  # what no answer speaks of stays
            self._desk.change({**values, **setup.settings_of(self.answers), "listener": now}, by)
        except DraftError as error:
            return error.problems
        return self._desk.problems()

    def _draft_secret(self, by: str) -> None:
        """The password goes where the page keeps such ones; none given: the one that is there stays."""
        answers, has_one = self.answers, bool(self._desk.settings()[_PASSWORD_KEY].value)
        is_wanted = answers.way_out == "host" and bool(answers.username)
        if is_wanted and answers.smtp_password:
            if answers.smtp_password != self._kept_secret or not has_one:
                self._desk.keep_secret(_PASSWORD_KEY, answers.smtp_password, by)
                self._kept_secret = answers.smtp_password
        elif not is_wanted and has_one:
            self._desk.keep_secret(_PASSWORD_KEY, "", by)

    async def _later(self) -> Mapping[str, str]:
        """Ports that are to be opened at the next start, with why."""
        supervisor, listeners = await self._supervisor(), self._saved("listener")
        found = await asyncio.to_thread(setup.port_faults, self.answers, listeners, supervisor)
        return {address: fault.words for address, fault in found}

    async def finish(self, request: Request) -> Response:
        """POST /setup/check: save, make the user, send the first message."""
        if step := await self._first_unanswered():
            return go_to(request, f"/setup/{step}", _NOT_YET, "note")
        session, later = session_of(request), await self._later()
        problems = await self._draft(request)
        try:
            said = await self._desk.save(session.name, {}) if not problems else ()
        except DraftError as error:
            problems = error.problems or [Problem("settings file", "was edited by hand meanwhile")]
        if problems:
            return await self._show_check(request, problems, status=UNPROCESSABLE)
        for words in said:
            session.say(words, "failed" if "did not take it over" in words else "note")
        self._pages.context.overviews.forget()
        try:
            await self._make_people(request)
        except AccountError as error:
            words = f"The settings are saved, but the user cannot be made: {words_of(error)}"
            return go_to(request, "/setup/people", words, "failed")
        if later:  # drafted, for who starts the server again
            listeners = setup.listeners_of(self.answers, self._saved("listener"))
            self._desk.change({"listener": listeners}, session.name)
        await self._trials.send(self._trials.address(self.answers.address))
        return go_to(request, "/setup/test")

    async def _make_people(self, request: Request) -> None:
        self._password = "" if self.answers.password else self._password or good_password()
        password = self.answers.password or self._password
        try:
            self._done = await asyncio.to_thread(setup.make_people, self._data_dir, self.answers, password)
        except ControlError as error:
            words = f"The user is made, but a worker does not know it yet: {error.words}"
            session_of(request).say(words, "failed")

    # A message goes through.

    async def test(self, request: Request) -> Response:
        """GET /setup/test."""
        if not self._trials.sent:
            return go_to(request, "/setup/check")
        await self._trials.look()
        return await self._show(request, "test", **self._sent())

    async def live_test(self, request: Request) -> Response:
        """GET /live/setup: the part of it that moves."""
        await self._trials.look()
        return await self._pages.show_part(request, "setup_sent.html", **self._sent())

    def _sent(self) -> dict[str, Any]:
        return {
            "sent": self._trials.sent,
            "is_moving": self._trials.is_moving,
            "password": self._password,
            "done": self._done,
            "unsaved": [change for change in self._desk.changes() if change.key == "listener"],
        }

    async def send(self, request: Request) -> Response:
        """POST /setup/test: one more, to an address that was typed."""
        text = text_of(await read_form(request), "address")
        try:
            recipient = self._trials.address(text)
        except (AddressSyntaxError, UnicodeEncodeError) as error:
            return go_to(request, "/setup/test", f"{text!r} is not an address: {error}.", "failed")
        await self._trials.send(recipient)
        return go_to(request, "/setup/test")

    async def leave(self, request: Request) -> Response:
        """POST /setup/leave: the end; what was typed is forgotten."""
        self._answers, self._kept_secret, self._password, self._done = None, "", "", ()
        self._trials.sent = ()
        return go_to(request, "/")


def routes(pages: Pages) -> list[Route]:
    """/setup and what is below it."""
    assistant = Assistant(pages)

    pages.context.overviews.finders.append(assistant.find_unfinished)

    async def begin(request: Request) -> Response:
        return go_to(request, "/setup/domain")

    return [
        Route("/setup", begin, methods=["GET"]),
        Route("/setup/check", assistant.check, methods=["GET"]),
        Route("/setup/check", assistant.finish, methods=["POST"]),
        Route("/setup/test", assistant.test, methods=["GET"]),
        Route("/setup/test", assistant.send, methods=["POST"]),
        Route("/setup/leave", assistant.leave, methods=["POST"]),
        Route("/live/setup", assistant.live_test, methods=["GET"]),
        Route("/live/setup/try", assistant.live_try, methods=["GET"]),
        Route("/setup/{step}", assistant.question, methods=["GET"]),
        Route("/setup/{step}", assistant.answer, methods=["POST"]),
    ]
