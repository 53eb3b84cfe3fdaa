"""What Validation costs a message, in microseconds of CPU: text, and what mail programs send.

    python bench/validation.py

The goal is 15 us for 4 KiB. Nothing is remembered between the messages but what any server remembers."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.intake import message
from cmail.mail.headers import header_of
from cmail.policy.validation.examine import examine

CORPUS: Final = Path(__file__).resolve().parent.parent / "tests" / "corpus" / "validation"
ROUNDS: Final = 9
COUNT: Final = 3000
SIZE: Final = 4096


def padded(name: str) -> bytes:
    """A message of the corpus, made 4 KiB with text before its last line."""
    text = (CORPUS / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n")
    lines = text.rstrip(b"\r\n").split(b"\r\n")
    filling = [b"x" * 70] * ((SIZE - len(text)) // 72)
    return b"\r\n".join([*lines[:-1], *filling, lines[-1], b""])


def microseconds(work: Callable[[], object]) -> float:
    """The best of some rounds."""
    best = 1e9
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(COUNT):
            work()
        best = min(best, time.process_time() - began)
    return best / COUNT * 1e6


def main() -> None:
    cases = {"text, few fields": message().removesuffix(b".\r\n")}
    names = ("plain", "gmail", "outlook", "apple-mail", "thunderbird", "mailing-list", "bounce-of-postfix")
    cases |= {name: padded(name) for name in names}
    for name, octets in cases.items():
        header = header_of(octets)
        spent = microseconds(lambda octets=octets, header=header: examine(octets, header))  # type: ignore[misc]
        print(f"{name:<20} {len(octets):>5} octets, {header.count(b':'):>2} fields {spent:6.1f} us")


if __name__ == "__main__":
    main()
