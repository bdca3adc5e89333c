"""Builds what a guest boots with: an uncompressed cpio archive in memory.

The kernel unpacks concatenated archives one over the other, so the part that is
the same for every run of a kernel is cached and a run's own files follow it.
"""

import hashlib
import os
import stat
import subprocess

BOOT_MODULES = ("virtio_blk", "virtio_net", "overlay")
PAYLOAD = "/payload"
_LINKED = ("bin", "sbin", "lib", "lib64")


class Cpio:
    """A cpio archive ("newc") that grows file by file."""

    def __init__(self):
        self._parts = []
        self._dirs = set()
        self._inode = 1

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        name = name.lstrip("/").encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(name), 0)
        self._inode += 1
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + name
        self._parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]

    def directory(self, path, mode=0o755):
        path = path.rstrip("/")
        if not path or path in self._dirs:
            return
        self.directory(os.path.dirname(path))
        self._dirs.add(path)
        self._entry(path, stat.S_IFDIR | mode)

    def file(self, path, data, mode=0o644):
        self.directory(os.path.dirname(path))
        self._entry(path, stat.S_IFREG | mode, data)

    def link(self, path, target):
        self.directory(os.path.dirname(path))
        self._entry(path, stat.S_IFLNK | 0o777, os.fsencode(target))

    def device(self, path, major, minor):
        self.directory(os.path.dirname(path))
        self._entry(path, stat.S_IFCHR | 0o600, rdev=(major, minor))

    def tree(self, source, path):
        """The host's file or directory `source`, as `path`."""
        found = os.lstat(source)
        mode = stat.S_IMODE(found.st_mode)
        if stat.S_ISDIR(found.st_mode):
            self.directory(path, mode)
            for name in sorted(os.listdir(source)):
                self.tree(os.path.join(source, name), f"{path}/{name}")
        elif stat.S_ISLNK(found.st_mode):
            self.link(path, os.readlink(source))
        elif stat.S_ISREG(found.st_mode):
            with open(source, "rb") as file:
                self.file(path, file.read(), mode)

    def write(self, out):
        self._entry("TRAILER!!!", 0)
        for part in self._parts:
            out.write(part)
        out.write(b"\0" * (-out.tell() % 512))


def _boot_modules(kernel, release):
    """Paths of the modules that the first process loads, dependencies first."""
    paths = []
    for module in BOOT_MODULES:
        shown = subprocess.run(
            ["modprobe", "-d", f"{kernel}/modules", "-S", release, "--show-depends", module],
            check=True, capture_output=True, text=True).stdout
        for line in shown.splitlines():
            kind, path = line.split()[:2]
            if kind == "insmod" and path not in paths:
                paths.append(path)
    return paths


def base(cached):
    """The archive every guest of a kernel starts with; made once, then cached."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(f"{here}/init", "rb") as file:
        init = file.read()
    with open(__file__, "rb") as file:
        key = hashlib.sha256(init + file.read() + cached["harness"].encode()).hexdigest()[:12]
    path = f"{cached['kernel']}/base-{key}.cpio"
    if os.path.exists(path):
        return path

    cpio = Cpio()
    cpio.device("/dev/console", 5, 1)
    cpio.device("/dev/null", 1, 3)
    cpio.file("/init", init, 0o755)
    cpio.tree("/usr/bin/busybox", "/bin/busybox")
    cpio.tree("/usr/bin/busybox", f"{PAYLOAD}/usr/lib/fep/busybox")
    cpio.tree(f"{cached['harness']}/agent", f"{PAYLOAD}/usr/lib/fep/agent")
    modules = _boot_modules(cached["kernel"], cached["release"])
    for module in modules:
        cpio.tree(module, f"/boot-modules/{os.path.basename(module)}")
    names = "".join(os.path.basename(m) + "\n" for m in modules)
    cpio.file("/boot-modules/list", names.encode())
    cpio.directory("/new")
    part = f"{path}.{os.getpid()}"
    with open(part, "wb") as out:
        cpio.write(out)
    os.replace(part, path)
    return path


def payload(cached, files, path):
    """Writes this run's archive: the module, the programs and `files` (guest path -> host path)."""
    cpio = Cpio()
    tree, release = cached["tree"], cached["release"]
    modules = f"{tree}/build/{release}/modroot/lib/modules"
    if os.path.isdir(modules):
        cpio.tree(modules, f"{PAYLOAD}/usr/lib/modules")
    programs = f"{tree}/build/bin"
    if os.path.isdir(programs):
        for name in sorted(os.listdir(programs)):
            cpio.tree(f"{programs}/{name}", f"{PAYLOAD}/usr/local/bin/{name}")
    for guest_path, host_path in files.items():
        if guest_path.split("/")[1] in _LINKED:
            guest_path = "/usr" + guest_path  # a directory here would hide the guest's link
        cpio.tree(host_path, PAYLOAD + guest_path)
    with open(cached["base"], "rb") as base_file, open(path, "wb") as out:
        out.write(base_file.read())
        out.write(b"\0" * (-out.tell() % 512))
        cpio.write(out)
