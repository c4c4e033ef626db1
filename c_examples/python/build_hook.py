"""Puts the built library, and the command where it is named, into a wheel for this platform."""
from __future__ import annotations

import os
import platform
import re
import sysconfig
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAMES = {"Darwin": "libbnn.dylib", "Windows": "bnn.dll"}


def tag(library: bytes) -> str:
    """Returns the platform of a library: on Linux the oldest glibc that has all its symbols."""
    machine = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    versions = [int(minor) for minor in re.findall(rb"\0GLIBC_2\.(\d+)(?:\.\d+)?(?=\0)", library)]
    if platform.system() != "Linux" or not versions:
        return machine
    return f"manylinux_2_{max(17, *versions)}_{platform.machine()}"


class Hook(BuildHookInterface):
    """Called by hatchling before the wheel is written."""

    def initialize(self, version: str, build_data: dict) -> None:
        named = os.environ.get("BNN_LIBRARY")
        if not named or not Path(named).is_file():
            raise SystemExit(f"BNN_LIBRARY must name the built library, such as target/dist/libbnn.so; it is {named!r} (docs/python.md)")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag(Path(named).read_bytes())}"
        build_data["force_include"][named] = f"libbnn/{NAMES.get(platform.system(), 'libbnn.so')}"
        command = os.environ.get("BNN_COMMAND")
        if command:
            build_data["shared_scripts"] = {command: "bnn"}
