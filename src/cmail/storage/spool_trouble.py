"""What it means that the disk or SQLite said no: no room, a file that is done for, somebody in the way."""

import errno
import os
from typing import Final

import apsw

from cmail.storage.spool import SpoolError, SpoolFullError

# The file cannot be trusted any more (rule 2) / somebody is in the way and will be gone.
FILE_ERRORS: Final = (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError)
PASSING_ERRORS: Final = (apsw.BusyError, apsw.LockedError, apsw.ReadOnlyError, apsw.NoMemError)
_FULL_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: Exception, connection: apsw.Connection) -> bool:
    """Whether there was no room."""
    if isinstance(error, OSError):
        return error.errno in _FULL_ERRNOS
    is_quota = isinstance(error, apsw.IOError) and "write" in str(error).lower()
    return isinstance(error, apsw.FullError) or (is_quota and connection.system_errno == errno.EDQUOT)


def disk_words(path: str, error: Exception, connection: apsw.Connection) -> str:
    """In plain words: which file, what the system said, what SQLite said."""
    number = connection.system_errno
    system = f"{os.strerror(number)}, " if number and isinstance(error, apsw.IOError) else ""
    return f"the disk failed at {path} ({system}{type(error).__name__}: {error})"


def file_error(error: OSError) -> SpoolError:
    """Of a content file that could not be made durable."""
    kind = SpoolFullError if error.errno in _FULL_ERRNOS else SpoolError
    return kind(f"{error.filename or 'a content file'}: {error.strerror or error}")


def spool_error(error: Exception, *, is_full: bool = False) -> SpoolError:
    """Of whatever else failed."""
    kind = SpoolFullError if is_full else SpoolError
    found = kind(f"spool: {type(error).__name__}: {error}")
    found.__cause__ = error
    return found
