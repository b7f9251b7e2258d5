"""Small wheels that pip takes (PEP 427): the files of a package, its metadata, and the record of their hashes."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence

CHECK = "edge/slot_check.py"
PASSES = "import sys\nassert sys.argv[1] == {version!r}, sys.argv\n"
FAILS = "raise SystemExit('No module named numpy')\n"


def make_wheel(
    project: str, version: str, files: Mapping[str, bytes | str], requires: Sequence[str] = ()
) -> tuple[str, bytes]:
    """A wheel's name and bytes; the same for the same words."""
    info = f"{project}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    content = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    content[f"{info}/METADATA"] = ("\n".join(metadata) + "\n").encode()
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: rekam\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in content.items()]
    content[f"{info}/RECORD"] = ("\n".join([*record, f"{info}/RECORD,,"]) + "\n").encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return f"{project}-{version}-py3-none-any.whl", packed.getvalue()


def agent_wheel(version: str, check: str = "", requires: Sequence[str] = ()) -> tuple[str, bytes]:
    """A release's own wheel with nothing in it but its check."""
    files = {"edge/__init__.py": "", CHECK: check or PASSES.format(version=version)}
    return make_wheel("rekam", version, files, requires)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
