"""What pyproject.toml cannot say for every setuptools: a compiled helper that may fail to build."""

from pathlib import Path

from setuptools import Extension, setup

SCAN = "src/cmail/protocol/smtp/_scan.c"

setup(
    ext_modules=[
        # optional: without a compiler or Python's headers the install goes on, and the twin in Python serves.
        Extension("cmail.protocol.smtp._scan", [SCAN], optional=True)
    ]
    if Path(SCAN).exists()
    else []
)
