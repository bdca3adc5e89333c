"""Guests in QEMU, and networks between them, for whatever boots one.

    with Lab() as lab:
        lab.network("outside")
        a = lab.guest("a", nics=["outside"])
        b = lab.guest("b", nics=["outside"])
        lab.start()
        a.run("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up")
        server = b.spawn("iperf3 -s")
        print(a.run("uname -r").output)

Leaving the block powers everything off and raises KernelReport when a kernel
said something it must not. Nothing outlives the process, however it ends.
"""

import atexit
import glob
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

# Tests and the demo load this file from their own folders.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import channel as channel_module  # noqa: E402
import clock  # noqa: E402
import initramfs  # noqa: E402
import kernellog  # noqa: E402
from errors import CommandFailed, GuestError, GuestTimeout, KernelReport  # noqa: E402

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GUEST_ENV = {"PYTHONDONTWRITEBYTECODE": "1", "FEP_GUEST": "1"}

# Taint that only a kernel in trouble has: bad page, machine check, died, warned, locked up.
_TROUBLE = {4: "machine check", 5: "bad page", 7: "oops", 9: "warning", 14: "lockup"}

# QEMU is told to die with the thread that started it; this one lives as long as the process.
_spawner = ThreadPoolExecutor(1)


def cached(kernel=None):
    """Where the parts to boot from are, as `scripts/cached` says."""
    told = subprocess.run([f"{TREE}/scripts/cached", kernel or ""], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)
    if told.returncode:
        raise GuestError(told.stderr.strip())
    parts = dict(line.split("=", 1) for line in told.stdout.splitlines())
    parts["base"] = initramfs.base(parts)
    return parts


def _sweep():
    """Removes what processes that were killed have left behind."""
    for path in glob.glob("/tmp/fep-lab-*-*"):
        if not os.path.exists(f"/proc/{path.split('-')[2]}"):
            shutil.rmtree(path, ignore_errors=True)


def _since_boot(parts, name, find):
    """What find() says, kept in the cache until this machine boots again."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        path = f"{parts['cache']}/{name}-{file.read().strip()}"
    if not os.path.exists(path):
        with open(f"{path}.{os.getpid()}", "w", encoding="ascii") as file:
            file.write(str(find()))
        os.replace(file.name, path)
    with open(path, encoding="ascii") as file:
        return file.read()


def _accelerator(parts):
    """"kvm" when a guest has been seen to boot with it, else "tcg"."""
    def probe():
        try:
            with Lab(accel="kvm") as lab:
                guest = lab.guest("kvm-probe").start()
                guest.wait_ready(15)
                return "kvm" if guest.run("true", timeout=5).status == 0 else "tcg"
        except GuestError:
            return "tcg"
    if os.environ.get("FEP_ACCEL"):
        return os.environ["FEP_ACCEL"]
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    return _since_boot(parts, "accel", probe)


class Guest:
    """One guest. Made by Lab.guest()."""

    def __init__(self, lab, name, index, *, kernel, smp, mem, icount, nics, files, append, allow, log, plugin):
        self.lab, self.name = lab, name
        self.smp, self.mem, self.icount, self.plugin = smp, mem, icount, plugin
        self.files, self.append, self.allow = files, append, allow
        self.nics = nics
        self.parts = lab.parts(kernel)
        self.release = self.parts["release"]
        self.log_path = log or f"{lab.dir}/{name}.log"
        self.log = None
        self._index = index
        self._qemu = None
        self._channel = None
        self._failure = None
        self._stopping = False
        self._started = 0.0

    def mac(self, nic):
        return f"52:54:00:fe:{self._index:02x}:{nic:02x}"

    def _command_line(self, agent_fd, initrd):
        parts, accel = self.parts, self.lab.accel(self.parts)
        line = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-name", self.name,
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-machine", "q35,usb=off,vmport=off,smm=off", "-m", str(self.mem)]
        if self.icount:
            # Each step of a string instruction counts. Kernels use those for short copies too where the
            # processor makes them fast (FSRM, ERMS): there a count of instructions would mean nothing.
            line += ["-accel", "tcg", "-icount", "shift=0,sleep=off", "-cpu", "qemu64", "-smp", "1"]
        elif accel == "kvm":
            line += ["-accel", "kvm", "-cpu", "host", "-smp", str(self.smp)]
        else:
            line += ["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(self.smp)]
        append = f"console=ttyS0 quiet loglevel=5 panic=-1 guest_name={self.name} {self.append}"
        khz = 1_000_000 if self.icount else 0 if accel == "kvm" else self.lab.tsc_khz(parts)
        if khz:
            append += f" tsc=reliable tsc_early_khz={khz}"
        line += ["-kernel", f"{parts['kernel']}/vmlinux.boot", "-initrd", initrd, "-append", append,
                 "-chardev", f"file,id=log,path={self.log_path}", "-serial", "chardev:log",
                 "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,fd={agent_fd}",
                 "-device", "virtserialport,nr=1,chardev=agent,name=fep.agent"]
        for drive, path in (("system", parts["image"]), ("modules", f"{parts['kernel']}/modules.ext4")):
            line += ["-drive", f"file={path},format=raw,if=none,id={drive},readonly=on",
                     "-device", f"virtio-blk-pci,drive={drive}"]
        if self.plugin:
            line += ["-plugin", self.plugin]
        for number, nic in enumerate(self.nics):
            network, _, options = nic.partition(",")
            path = self.lab.socket_path(network)
            options = options or f"mac={self.mac(number)}"
            line += ["-netdev", f"stream,id=net{number},server=off,addr.type=unix,addr.path={path}",
                     "-device", f"virtio-net-pci,netdev=net{number},romfile=,{options}"]
        return line

    def start(self):
        """Powers on; wait_ready() tells when commands can run (run() waits by itself)."""
        initrd = f"{self.lab.dir}/{self.name}.cpio"
        initramfs.payload(self.parts, self.files, initrd)
        os.makedirs(os.path.dirname(os.path.abspath(self.log_path)), exist_ok=True)
        open(self.log_path, "wb").close()
        agent_here, agent_there = socket.socketpair()
        line = self._command_line(agent_there.fileno(), initrd)
        self._failure, self._stopping = None, False
        self._started = time.monotonic()
        self._errors = tempfile.TemporaryFile()
        self._qemu = _spawner.submit(
            subprocess.Popen, line, stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors,
            pass_fds=(agent_there.fileno(),), start_new_session=True).result()
        agent_there.close()
        self.log = kernellog.KernelLog(self.log_path, self.allow, self._on_bad)
        self._channel = channel_module.Channel(agent_here, self._on_close)
        return self

    def _on_bad(self):
        if self._qemu and self._qemu.poll() is None and not self._stopping:
            self._qemu.kill()

    def _on_close(self):
        """QEMU is gone: says what every command still running is to be told."""
        self._qemu.wait()
        self.log.finish()
        if self._failure is None:
            self._failure = self._report()
        if self._failure is None and self._stopping:
            self._failure = GuestError(f"{self.name}: powered off")
        if self._failure is None:
            self._errors.seek(0)
            said = self._errors.read().decode("utf-8", "replace").strip()
            self._failure = GuestError("\n".join(
                [f"{self.name}: QEMU ended (status {self._qemu.returncode}) {said}", *self.log.tail()]))
        return self._failure

    def _report(self):
        """The log's bad part as an exception, if it has one."""
        lines = self.log.around_bad() if self.log else []
        if not lines:
            return None
        return KernelReport("\n".join([f"{self.name}: the kernel reports trouble:", *lines]))

    def wait_ready(self, timeout=120):
        """Waits until commands can run; returns the seconds since power on."""
        if not self._channel.ready.wait(timeout):
            raise GuestTimeout("\n".join(
                [f"{self.name}: not up after {timeout} s; its log ends:", *self.log.tail()]))
        if self._failure:
            raise self._failure
        return time.monotonic() - self._started

    def spawn(self, command, *, env=None, cwd="/", stdin=False, merge=True, sink=None, errors=None):
        """Starts a command (text for sh, or an argument list) and returns its channel.Command.
        `sink` gets its output in pieces as it comes, else it is collected in .output."""
        self.wait_ready()
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        return self._channel.start(argv, cwd=cwd, env={**GUEST_ENV, **(env or {})}, stdin=stdin,
                                   merge=merge, sink=sink, errors=errors)

    def run(self, command, *, check=False, timeout=120, input=None, **options):
        """Runs a command to its end; the Command returned has .status and .output."""
        running = self.spawn(command, stdin=input is not None, **options)
        if input is not None:
            running.write(input)
            running.close()
        try:
            running.wait(timeout)
        except TimeoutError:
            running.signal(9)
            said = running.output[-2000:]
            raise GuestTimeout("\n".join([
                f"{self.name}: {self._shown(command)}: still running after {timeout} s; output ends:",
                said, "log ends:", *self.log.tail()])) from None
        if check and running.status:
            raise CommandFailed(f"{self.name}: {self._shown(command)}: status {running.status}\n"
                                f"{running.output}{running.stderr}")
        return running

    @staticmethod
    def _shown(command):
        return command if isinstance(command, str) else shlex.join(map(str, command))

    def put(self, host_path, guest_path):
        """Copies one file into the guest, with its mode."""
        with open(host_path, "rb") as file:
            data = file.read()
        mode = f"{os.stat(host_path).st_mode & 0o777:o}"
        self.run(["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"',
                  "put", guest_path, mode], input=data, check=True)

    def get(self, guest_path, host_path):
        """Copies a file or directory out of the guest."""
        is_tree = self.run(["test", "-d", guest_path]).status == 0
        command = ["tar", "-C", guest_path, "-cf", "-", "."] if is_tree else ["cat", guest_path]
        with tempfile.TemporaryFile() as archive:
            running = self.spawn(command, merge=False, sink=archive.write)
            if running.wait(120):
                raise CommandFailed(f"{self.name}: {guest_path}: {running.stderr.strip()}")
            archive.seek(0)
            if is_tree:
                with tarfile.open(fileobj=archive) as tar:
                    tar.extractall(host_path, filter="data")
            else:
                with open(host_path, "wb") as file:
                    shutil.copyfileobj(archive, file)

    def kill(self):
        """Pulls the plug. The log up to then still counts."""
        self._stopping = True
        if self._qemu:
            # A plugin is to write what it has to say.
            self._qemu.terminate() if self.plugin else self._qemu.kill()
            self._qemu.wait()
            self.log.finish()

    def check(self):
        """Raises KernelReport when the kernel has said or done what it must not."""
        if self.log and self.log.bad is not None:
            time.sleep(1)
        report = self._report() if self.log else None
        if report:
            raise report
        if self._qemu is None or self._qemu.poll() is not None or not self._channel.ready.is_set():
            return
        read = self.run("cat /proc/sys/kernel/tainted", timeout=30, check=True)
        taint = int(read.output)
        found = [text for bit, text in _TROUBLE.items() if taint >> bit & 1]
        if found and not self.allow:
            raise KernelReport("\n".join(
                [f"{self.name}: the kernel is tainted by: {', '.join(found)}", *self.log.tail(60)]))

    def stop(self):
        """Checks the kernel, then powers off."""
        try:
            if not self._stopping:
                self.check()
        finally:
            self.kill()
        report = self._report() if self.log else None
        if report:
            raise report


class Lab:
    """A set of guests and networks that live and end together."""

    def __init__(self, *, kernel=None, accel=None):
        self.kernel = kernel or os.environ.get("KERNEL") or None
        _sweep()
        self.dir = tempfile.mkdtemp(prefix=f"fep-lab-{os.getpid()}-", dir="/tmp")
        self.guests = []
        self._accel = accel
        self._parts = {}
        self._networks = []
        self._switch = None
        self._lock = threading.Lock()
        atexit.register(self._clean)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close(quiet=kind is not None)

    def parts(self, kernel=None):
        kernel = kernel or self.kernel
        if kernel not in self._parts:
            self._parts[kernel] = cached(kernel)
        return self._parts[kernel]

    def accel(self, parts):
        with self._lock:
            if self._accel is None:
                self._accel = _accelerator(parts)
        return self._accel

    @staticmethod
    def tsc_khz(parts):
        return int(_since_boot(parts, "tsc", clock.tsc_khz))

    def network(self, name):
        """An Ethernet segment; guests name it in `nics`. All must be there before the first start."""
        if self._switch:
            raise GuestError(f"network {name}: the switch is running already")
        if name not in self._networks:
            self._networks.append(name)
        return name

    def socket_path(self, network):
        if network not in self._networks:
            raise GuestError(f"no network '{network}' in this lab")
        with self._lock:
            if self._switch is None:
                program = f"{self.parts()['harness']}/switch"
                line = ["setpriv", "--pdeathsig", "KILL", program,
                        *(f"{self.dir}/{n}.net" for n in self._networks)]
                self._switch = _spawner.submit(
                    subprocess.Popen, line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    start_new_session=True).result()
                if self._switch.stdout.readline() != b"ready\n":
                    raise GuestError("the switch between the guests did not start")
        return f"{self.dir}/{network}.net"

    def guest(self, name, *, kernel=None, smp=1, mem="512M", icount=False, nics=(), files=None,
              append="", allow=(), log=None, plugin=None):
        """A guest, not yet started. `nics`: networks, each with QEMU device options after a comma
        if need be ("outside,mac=52:54:00:00:00:01"); they are eth0, eth1, … `files`: guest path ->
        host path of files or directories it starts with. `allow`: patterns of kernel log lines
        that are no trouble here. `log`: where its kernel log is kept. `plugin`: QEMU's -plugin."""
        guest = Guest(self, name, len(self.guests) + 1, kernel=kernel, smp=smp, mem=mem, icount=icount,
                      nics=list(nics), files=dict(files or {}), append=append, allow=list(allow), log=log,
                      plugin=plugin)
        self.guests.append(guest)
        return guest

    def start(self, timeout=120):
        """Powers on every guest that is off and waits for all."""
        for guest in self.guests:
            if guest._qemu is None:
                guest.start()
        for guest in self.guests:
            guest.wait_ready(timeout)

    def close(self, quiet=False):
        """Powers everything off; raises the first kernel report unless `quiet`."""
        first = None
        for guest in self.guests:
            try:
                if quiet:
                    guest.kill()
                else:
                    guest.stop()
            except GuestError as error:
                first = first or error
        self._clean()
        if first and not quiet:
            raise first

    def _clean(self):
        for guest in self.guests:
            if guest._qemu and guest._qemu.poll() is None:
                guest._qemu.kill()
        if self._switch and self._switch.poll() is None:
            self._switch.kill()
            self._switch.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
