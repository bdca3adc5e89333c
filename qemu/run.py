"""Boots one guest and runs a script in it. See --help."""

import argparse
import os
import signal
import sys

import guest
import terminal

_EPILOG = """\
exit status: the script's own (128 + n when signal n ended it); and
  124  it took longer than --timeout      125  the harness failed
  126  the guest's kernel warned, oopsed, stalled or panicked, whatever the script says

The guest has the system of scripts/guest.packages, fep.ko (modprobe fep loads it)
and the project's programs in PATH. Its files are its own and gone when it ends.
SCRIPT and what --with names are at their host paths."""


def _arguments():
    parser = argparse.ArgumentParser(
        prog="qemu/run", description="Boots one guest, runs SCRIPT in it as root, prints its output.",
        epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", default=os.environ.get("KERNEL"), metavar="V",
                        help="7.3, 7.2 or a full version (default: KERNEL, else the first of kernels.conf)")
    parser.add_argument("--smp", type=int, default=1, metavar="N", help="processors (1)")
    parser.add_argument("--mem", default="512M", metavar="M", help="memory (512M)")
    parser.add_argument("--icount", action="store_true",
                        help="a nanosecond of the guest is one instruction of its only processor")
    parser.add_argument("--timeout", type=float, default=300, metavar="S",
                        help="seconds for all of it, boot included (300; 0: none)")
    parser.add_argument("--nic", action="append", default=[], metavar="NET[,mac=..]",
                        help="a network device on the network NET; repeatable, eth0 first")
    parser.add_argument("--name", default="guest", help="host name (guest)")
    parser.add_argument("--append", default="", metavar="TEXT", help="more for the kernel command line")
    parser.add_argument("--with", action="append", default=[], dest="extra", metavar="PATH",
                        help="a file or directory to have in the guest; PATH:GUESTPATH puts it elsewhere")
    parser.add_argument("--out", action="append", default=[], metavar="GUESTPATH:PATH",
                        help="copy a file or directory out when the script has ended")
    parser.add_argument("--env", action="append", default=[], metavar="NAME[=VALUE]",
                        help="set a variable, to this process's value by default")
    parser.add_argument("--allow", action="append", default=[], metavar="REGEX",
                        help="kernel log lines that are no trouble here")
    parser.add_argument("--plugin", metavar="FILE[,ARG=..]", help="a plugin for QEMU (its -plugin)")
    parser.add_argument("--log", metavar="FILE", help="keep the kernel log there")
    parser.add_argument("--stdin", action="store_true", help="the script reads this standard input")
    parser.add_argument("--shell", action="store_true", help="an interactive shell in place of SCRIPT")
    parser.add_argument("script", nargs="?", metavar="SCRIPT")
    parser.add_argument("args", nargs=argparse.REMAINDER, metavar="ARGS")
    args = parser.parse_args()
    if not args.shell and not args.script:
        parser.error("no SCRIPT")
    return args


def _on_host(path):
    """The host's own file of that path: the toolchain root shows its own /usr and /etc."""
    for place in ("/host" + path, path):
        if os.path.exists(place):
            return os.path.realpath(place)
    return None


def _files(args):
    files = {}
    if args.script:
        script = os.path.abspath(args.script)
        found = _on_host(script)
        if not found or not os.path.isfile(found):
            raise guest.GuestError(f"{args.script}: no such file")
        if not os.access(found, os.X_OK):
            raise guest.GuestError(f"{args.script}: not executable (chmod +x)")
        files[script] = found
    for path in args.extra:
        host, _, inside = path.partition(":")
        found = _on_host(os.path.abspath(host))
        if not found:
            raise guest.GuestError(f"--with {path}: no such file or directory")
        files[inside or os.path.abspath(host)] = found
    return files


def _environment(args):
    pairs = (e.partition("=") for e in args.env)
    return {name: value if given else os.environ.get(name, "") for name, given, value in pairs}


def _run(args):
    files = _files(args)
    env = _environment(args)
    with guest.Lab(kernel=args.kernel) as lab:
        for nic in args.nic:
            lab.network(nic.partition(",")[0])
        machine = lab.guest(args.name, smp=args.smp, mem=args.mem, icount=args.icount, nics=args.nic,
                            files=files, append=args.append, allow=args.allow, log=args.log,
                            plugin=args.plugin)
        if args.timeout:
            def late(*_):
                log = machine.log.tail() if machine.log else []
                raise guest.GuestTimeout("\n".join(
                    [f"{args.name}: not done after {args.timeout:g} s; its log ends:", *log]))
            signal.signal(signal.SIGALRM, late)
            signal.setitimer(signal.ITIMER_REAL, args.timeout)
        machine.start()
        machine.wait_ready()
        if args.shell:
            return terminal.interactive(machine, env=env)
        command = machine.spawn([os.path.abspath(args.script), *args.args], stdin=args.stdin,
                                sink=terminal.write, env=env)
        if args.stdin:
            terminal.feed(command)
        status = command.wait()
        for pair in args.out:
            inside, _, outside = pair.partition(":")
            machine.get(inside, outside)
        machine.stop()
        signal.setitimer(signal.ITIMER_REAL, 0)
        return status


def main():
    args = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    try:
        status = _run(args)
    except guest.GuestError as error:
        print(f"qemu/run: {error}", file=sys.stderr)
        status = error.status
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # nobody reads the output any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 141
    sys.exit(status)


if __name__ == "__main__":
    main()
