"""The house's rules as a test: floors, lengths, names, importers of the wires, secrets in the tree, dead modules."""

from __future__ import annotations

import ast
import gc
import re
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from contract.lifecycle import LIFECYCLES, diagram

ROOT = Path(__file__).resolve().parent.parent
FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 400
# A test module is a list of small cases; what it lists belongs together.
TEST_MODULE_LINES_MAX = 450
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}

# What the unit shares with its controller: the wire, never the board's own modules.
WIRE = ("firmware.frames", "firmware.link", "firmware.dictionary")
# Who may import whom, by the longest matching prefix. Left: the importer; right: what it may see of our own.
FLOORS: dict[str, tuple[str, ...]] = {
    "contract": ("contract",),
    "firmware": ("firmware",),
    "edge.matcher_lite": ("contract", "edge.matcher_lite"),
    "edge.sensors": ("contract", "edge.matcher_lite", "edge.sensors"),
    "edge": ("contract", "edge", *WIRE),
    "hub": ("contract", "hub", "edge.matcher_lite"),
    "provisioning": ("contract", "provisioning"),
    "virtual": ("contract", "firmware", "virtual", "edge.matcher_lite", "provisioning"),
}
CHANNELS = (
    "contract.channel_mqtt",
    "contract.channel_mqtt_session",
    "contract.channel_pcsc",
    "contract.channel_pkcs11",
    "contract.channel_probe",
    "contract.channel_renewal",
)
# The one importer of each library that touches a wire.
SOLE_IMPORTERS = {
    "aiomqtt": {"contract/channel_mqtt.py"},
    "paho": {"contract/channel_mqtt_session.py"},
    "smartcard": {"contract/channel_pcsc.py"},
    "pkcs11": {"contract/channel_pkcs11.py"},
}
# virtual simulates the other side of a wire, so it may share a codec and the Protocols, never a driver.
VIRTUAL_CODECS = re.compile(r"^edge\.sensors\.([a-z0-9_]+_frames|interface)$")
# A WSQ decoder in C may crash on hostile bytes, so it runs in a child that has nothing but a pipe.
ISOLATED = {("contract.image_formats", "subprocess")}
# The command line starts where a module has no importer; these are such starts.
STARTS = {"__main__", "__init__", "env"}


@pytest.fixture(scope="module", autouse=True)
def _trees() -> Iterator[None]:
    """The collector would walk the million nodes of the parsed modules again and again, and find nothing."""
    gc.disable()
    yield
    tree.cache_clear()
    gc.enable()


@cache
def tracked() -> tuple[Path, ...]:
    """Every file git tracks or would track."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\n")  # fmt: skip
    return tuple(ROOT / name for name in listing if name and (ROOT / name).is_file())


@cache
def modules() -> tuple[Path, ...]:
    """Every Python module of the product and its tests."""
    return tuple(path for path in tracked() if path.suffix == ".py")


@cache
def dotted(path: Path) -> str:
    """The module's dotted name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def source(path: Path) -> str:
    """The file's text."""
    return path.read_text(encoding="utf-8", errors="ignore")


@cache
def tree(path: Path) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(source(path), filename=str(path))


@cache
def is_module(name: str) -> bool:
    """Whether a dotted name is a module or a package of ours."""
    inner = ROOT.joinpath(*name.split("."))
    return inner.with_suffix(".py").exists() or inner.is_dir()


def statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Every statement at any depth: imports and functions are statements, and a walk of expressions costs seconds."""
    for node in body:
        yield node
        for part in ("body", "orelse", "handlers", "finalbody", "cases"):
            inner = getattr(node, part, None)
            if isinstance(inner, list):
                yield from statements(inner)


@cache
def imports(path: Path) -> frozenset[str]:
    """Every dotted name that a module imports; `from a import b` gives a.b where that is a module."""
    return frozenset(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in statements(tree(path).body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if is_module(name) else node.module
        elif isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{path.relative_to(ROOT)}:{node.lineno} imports relatively; name the room instead")


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the prefixes or lies below one."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


ROOMS = tuple(sorted({floor.split(".")[0] for floor in FLOORS} | {"tests"}))


def breach(importer: str, imported: str) -> str | None:
    """Why `importer` may not import `imported`, or None where it may."""
    if not within(imported, ROOMS):
        return None
    floor = max((f for f in FLOORS if within(importer, (f,))), key=len, default=None)
    if floor is None:
        return None if importer.startswith("tests") else "is in no room"
    if floor == "virtual" and VIRTUAL_CODECS.match(imported):
        return None
    if not within(imported, FLOORS[floor]):
        return f"{floor} may not import {imported}"
    if floor == "contract" and importer not in CHANNELS and imported in CHANNELS:
        return "the pure contract may not import a channel"
    return None


def test_imports_go_downwards() -> None:
    found = [
        f"{dotted(path)}: {why}"
        for path in modules()
        for name in imports(path)
        if (why := breach(dotted(path), name)) is not None
    ]
    assert not found, "\n".join(sorted(set(found)))


def test_the_floor_rule_can_fail() -> None:
    assert breach("edge.agent", "hub.records")
    assert breach("edge.panel", "firmware.board")
    assert breach("edge.panel", "firmware.link") is None
    assert breach("hub.search.fingers", "edge.spool")
    assert breach("edge.uplink", "virtual.people")
    assert breach("virtual.fingerprint_twin", "edge.sensors.fingerprint_zfm")
    assert breach("contract.packet", "contract.channel_mqtt")
    assert breach("edge.matcher_lite.finger_codes", "edge.spool")
    assert breach("hub.search.fingers", "edge.matcher_lite.gallery") is None
    assert breach("virtual.fingerprint_twin", "edge.sensors.fingerprint_zfm_frames") is None


def test_each_wire_library_has_one_importer() -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules()
        if not dotted(path).startswith(("tests", "virtual"))
        for name in imports(path)
        for library, importers in SOLE_IMPORTERS.items()
        if within(name, (library,)) and str(path.relative_to(ROOT)) not in importers
    ]
    assert not found, "\n".join(found)


def test_contract_does_no_input_or_output() -> None:
    forbidden = {"socket", "sqlite3", "subprocess", "threading", "asyncio", "httpx", "serial", "sqlalchemy"}
    found = [
        f"{dotted(path)} imports {name}"
        for path in modules()
        if dotted(path).startswith("contract") and dotted(path) not in CHANNELS
        for name in imports(path)
        if name.split(".")[0] in forbidden and (dotted(path), name) not in ISOLATED
    ]
    assert not found, "\n".join(found)


def test_functions_fit_a_screen_and_modules_are_one_thing() -> None:
    found = []
    for path in modules():
        length = len(source(path).splitlines())
        length_max = TEST_MODULE_LINES_MAX if dotted(path).startswith("tests") else MODULE_LINES_MAX
        if length > length_max:
            found.append(f"{path.relative_to(ROOT)} has {length} lines, more than {length_max}")
        for node in statements(tree(path).body):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {lines} lines")
    assert not found, "\n".join(found)


def test_names_say_what_a_thing_is() -> None:
    found = [str(path.relative_to(ROOT)) for path in modules() if path.stem in FORBIDDEN_NAMES]
    found += [str(path.relative_to(ROOT)) for path in tracked() if path.parent.name in FORBIDDEN_NAMES]
    assert not found, found


def test_every_module_says_why_it_exists() -> None:
    found = [
        str(path.relative_to(ROOT)) for path in modules() if source(path).strip() and not ast.get_docstring(tree(path))
    ]
    assert not found, found


def test_no_module_is_dead() -> None:
    imported = {name for path in modules() for name in imports(path)}
    texts = [source(p) for p in tracked() if p.suffix in {".py", ".toml", ""}]
    texts += [source(p) for p in tracked() if p.name in {"Makefile", "script.py.mako"}]
    found = []
    for path in modules():
        name = dotted(path)
        if path.stem in STARTS or name.startswith(("tests", "firmware", "hub.schema.versions")) or name in imported:
            continue
        mentioned = re.compile(re.escape(name) + r"(?![a-z_0-9])")
        if not any(mentioned.search(text) for text in texts):
            found.append(name)
    assert not found, f"nothing imports or starts: {found}"


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b|NotImplemented" + "Error")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in modules()
        for number, line in enumerate(source(path).splitlines(), 1)
        if later.search(line)
    ]
    assert not found, found


def test_no_page_has_a_gap_to_fill() -> None:
    gap = re.compile(r"(^|\| )[A-Z]+_[A-Z_]+( \||$)", re.MULTILINE)
    found = [str(path.relative_to(ROOT)) for path in tracked() if path.name == "README.md" and gap.search(source(path))]
    assert not found, found


def test_no_key_and_no_evaluation_data_is_in_the_tree() -> None:
    marker = "-----BEGIN " + "PRIVATE KEY"
    legacy = "-----BEGIN EC " + "PRIVATE KEY"
    found = []
    for path in tracked():
        if re.fullmatch(r"\d{1,3}_\d\.(tif|bmp|png)", path.name) or path.suffix in {".an2k", ".key", ".pem"}:
            found.append(str(path.relative_to(ROOT)))
        elif path.suffix not in {".png", ".npz", ".ttf"}:
            text = source(path)
            if marker in text or legacy in text:
                found.append(str(path.relative_to(ROOT)))
    assert not found, found


def test_diagrams_in_the_contract_readme_are_the_tables() -> None:
    readme = (ROOT / "contract" / "README.md").read_text(encoding="utf-8")
    for lifecycle in LIFECYCLES:
        assert diagram(lifecycle) in readme, f"run: python -m contract.diagrams --write   ({lifecycle.name} differs)"


def test_every_room_has_a_readme() -> None:
    rooms = [
        "contract",
        "firmware",
        "edge",
        "edge/sensors",
        "edge/matcher_lite",
        "hub",
        "provisioning",
        "virtual",
        "tests",
    ]
    assert [room for room in rooms if not (ROOT / room / "README.md").is_file()] == []
