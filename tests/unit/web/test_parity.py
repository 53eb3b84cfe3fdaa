"""What the file can say, the pages can say: each setting has its control, or is for the file alone."""

from pathlib import Path

from starlette.testclient import TestClient

from cmail.web.application import application
from cmail.web.labels import LABELS
from cmail.web.pages import advanced, host, smtp
from cmail.web.pages.table_kinds import KINDS
from tests.support.fake_web import OneSession, fake_context

# With controls of their own: a table of rows, a password. tests/unit/web/test_tables_page.py looks at each column.
OTHERWISE = {"listener": "/host", "forward": "/host", smtp.PASSWORD_FILE: "/smtp"} | {
    kind.key: kind.path for kind in KINDS
}


def test_each_setting_is_on_a_page_or_for_the_file_alone(tmp_path: Path) -> None:
    """A setting that is new has to be put on a page, with words of its own; none is on two of them, but for what
    belongs to both."""
    context, _ = fake_context(tmp_path)
    browser = TestClient(OneSession(application(context)))
    pages = {"/smtp": smtp.KEYS, "/host": host.KEYS, "/advanced": advanced.DIALOG.keys}
    shown = {key for keys in pages.values() for key in keys} | set(OTHERWISE)
    settings = context.desk.settings()
    assert {key for key, view in settings.items() if not view.is_file_only} <= shown
    assert {key for key in shown if settings[key].is_file_only} == {smtp.PASSWORD_FILE}
    for path, keys in pages.items():
        text = browser.get(path).text
        assert all(f'name="{key}"' in text for key in keys), path
    columns = {each.key for kind in KINDS for each in settings[kind.key].columns}
    assert {*settings, *columns} <= set(LABELS), "each has words for who does not read the file"
