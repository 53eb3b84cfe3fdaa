"""Process life: ground, lock, sockets, keys, drop rights, fork; what each of them needs, in that order."""

import contextlib
import gc
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from cmail import __version__
from cmail.admin.keys import Keys
from cmail.app import ground, house, ports, rights
from cmail.app.child import Child
from cmail.app.config import find_config
from cmail.app.estate import ADMIN, CLOCK_FILE, Estate
from cmail.app.first_start import first_user
from cmail.app.ground import GroundError
from cmail.app.ports import Port, PortError
from cmail.app.reload import Reload
from cmail.app.screen import start_screen
from cmail.app.settings import Settings
from cmail.app.snapshot import Snapshot, Source
from cmail.app.supervisor import Supervisor
from cmail.app.systemd import Notifier, given_sockets
from cmail.link import lived
from cmail.net.clock import RealClock
from cmail.net.tls import ServerTls
from cmail.observe import journal_files, log_file, maillog
from cmail.settings import SettingError
from cmail.storage.account_book import AccountError
from cmail.storage.self_signed import CertificateError, ensure_certificate

EX_OSERR: Final = 71
EX_CANNOT_CREATE: Final = 73


def serve(config: str | None = None) -> int:
    """`cmail serve`: runs until it is told to stop; the exit code. SettingError: the settings are
    wrong (78). Another server on the data folder: 75. A port that is taken: 69."""
    os.umask(0o077)
    rights.leave_no_core()
    rights.allow_files()
    rights.prefer_throughput()
    started_wall_ms = time.time_ns() // 1_000_000
    source = Source(find_config(config))
    snapshot = source.read(1)
    owner = rights.owner_of(snapshot.settings.host.user)
    try:
        ground.lay(snapshot.settings.host.data_dir, owner)
        ground.lock(snapshot.settings.host.data_dir, owner)  # held until the last of us is gone
        estate = _acquire(snapshot, owner, started_wall_ms)
        house.import_parts(owner)
        rights.drop(owner)
        estate.settings_file = source.reach()
        _open_journal(estate)
        user = first_user(estate.settings)
    except (GroundError, PortError) as error:
        print(f"cmail: {error}", file=sys.stderr)
        return error.code
    except (CertificateError, AccountError) as error:
        print(f"cmail: {error}", file=sys.stderr)
        return ground.code_for(error, EX_CANNOT_CREATE)
    except OSError as error:
        print(f"cmail: {error.filename or 'the disk'}: {error.strerror or error}", file=sys.stderr)
        return ground.code_for(error, EX_OSERR)
    return _supervise(estate, source, user)


def _acquire(snapshot: Snapshot, owner: rights.Owner, started_wall_ms: int) -> Estate:
    """Everything that may need the rights of root: ports, log, certificate and key."""
    settings = snapshot.settings
    workers_count = settings.host.workers or len(os.sched_getaffinity(0))
    given = given_sockets()
    bound = ports.bind_all(settings.listener, workers_count, given)
    admin_port = ports.bind(ADMIN, settings.admin.address, 1, given) if settings.admin.address else None
    for port in bound:
        if port.endpoint.path:
            os.chown(port.endpoint.path, owner.uid, owner.gid, follow_symlinks=False)
    _open_log(settings, owner)
    ensure_certificate(settings.host.data_dir, settings.host.hostname)
    tls = ServerTls(settings.tls, settings.host.data_dir)
    time_lived = lived.resume(os.path.join(settings.host.data_dir, CLOCK_FILE), RealClock(), maillog)
    return Estate(snapshot, bound, admin_port, tls, workers_count, started_wall_ms, time_lived)


def _open_log(settings: Settings, owner: rights.Owner) -> None:
    """On a disk that is full or fails the log begins on standard error, and goes to its file when it can:
    mail does not wait for it."""
    hostname = settings.host.hostname
    try:
        _own_log(settings, owner)
        log_file.open(settings.log, hostname, "supervisor")
    except (OSError, SettingError) as error:
        if ground.code_for(error, 0) != ground.EX_TEMPFAIL:
            raise
        log_file.open(settings.log, hostname, "supervisor", is_file_later=True)


def _own_log(settings: Settings, owner: rights.Owner) -> None:
    """A log file that root makes belongs to who writes it later."""
    path = settings.log.file
    if path and not owner.is_us and not os.path.exists(path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        os.fchown(fd, owner.uid, owner.gid)
        os.close(fd)


def _open_journal(estate: Estate) -> None:
    """What the page shows as its log; nobody reads it where there is no page."""
    if estate.admin_port is not None:
        log_file.keep_journal(estate.folder(journal_files.FOLDER), estate.settings.log.keep_size)


def _page_key(estate: Estate) -> str:
    """What opens the page as long as nobody has chosen a password; "" afterwards."""
    keys = Keys(estate.data_dir)
    return "" if estate.admin_port is None or keys.has_password() else keys.link()


def _supervise(estate: Estate, source: Source, user: tuple[str, str] | None) -> int:
    notifier = Notifier()
    reload = Reload(estate, source, notifier)
    children = [Child(name, role) for name, role in house.roles(estate)]
    reload.children = children

    def ready() -> None:
        maillog.noted(f"ready: version {__version__}, {estate.workers_count} workers, {_listeners(estate)}")
        if not notifier.is_watched:
            with contextlib.suppress(OSError, ValueError):  # nobody reads it
                key = _page_key(estate)
                print(start_screen(estate.settings, source.path, _all_ports(estate), user, key), flush=True)

    def stopping() -> None:
        for port in _all_ports(estate):
            port.close()  # a client is told so at once, instead of waiting for somebody to accept

    supervisor = Supervisor(
        children,
        notifier,
        estate.run_folder,
        reload=reload,
        status=lambda: _status(estate),
        ready=ready,
        stopping=stopping,
    )
    gc.collect()
    gc.freeze()  # the children share these pages with us as long as nobody touches them
    code = supervisor.run()
    maillog.noted("stopped")
    log_file.flush()
    return code


def _all_ports(estate: Estate) -> Sequence[Port]:
    return [*estate.ports, *([estate.admin_port] if estate.admin_port else [])]


def _listeners(estate: Estate) -> str:
    return ", ".join(f"{port.kind} on {port.endpoint}" for port in _all_ports(estate)) or "no listener"


def _status(estate: Estate) -> dict[str, Any]:
    return {
        "version": __version__,
        "pid": os.getpid(),
        "started_ms": estate.started_wall_ms,
        "config": estate.snapshot.path,
        "settings": estate.snapshot.number,
        "data_dir": estate.data_dir,
        "listeners": [{"kind": port.kind, "address": str(port.endpoint)} for port in _all_ports(estate)],
    }
