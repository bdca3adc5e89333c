"""The harness's end of the guest agent's port; the frames are described in agent.rs."""

import struct
import threading

EXEC, STDIN, SIGNAL = 1, 2, 3
READY, STDOUT, STDERR, EXIT = 16, 17, 18, 19
_HEAD = struct.Struct("<IBI")


class Command:
    """A command that runs in a guest. `output` is what it has written so far."""

    def __init__(self, channel, number, sink, errors):
        self._channel, self._number = channel, number
        self._sink, self._errors = sink, errors
        self._done = threading.Event()
        self._output = bytearray()
        self._stderr = bytearray()
        self._failure = None
        self.status = None

    @property
    def output(self):
        return self._output.decode("utf-8", "replace")

    @property
    def stderr(self):
        return self._stderr.decode("utf-8", "replace")

    @property
    def raw(self):
        return bytes(self._output)

    @property
    def running(self):
        return not self._done.is_set()

    def write(self, data):
        """Bytes for its standard input (it must have been started with stdin=True)."""
        for at in range(0, len(data), 65536):
            self._channel.send(self._number, STDIN, data[at:at + 65536])

    def close(self):
        self._channel.send(self._number, STDIN, b"")

    def signal(self, number):
        """To it and all it has started that stayed in its process group."""
        self._channel.send(self._number, SIGNAL, str(int(number)).encode())

    def wait(self, timeout=None):
        """Its exit status; 128 + n when signal n ended it. TimeoutError after `timeout` seconds."""
        if not self._done.wait(timeout):
            raise TimeoutError(f"still running after {timeout} s")
        if self._failure:
            raise self._failure
        return self.status

    # Called by the channel's thread.

    def _data(self, kind, data):
        if kind == STDOUT:
            (self._sink or self._output.extend)(data)
        else:
            (self._errors or self._stderr.extend)(data)

    def _end(self, status, failure=None):
        self.status, self._failure = status, failure
        self._done.set()


class Channel:
    """The port, from when QEMU has opened it until it closes."""

    def __init__(self, stream, on_close):
        self.ready = threading.Event()
        self._stream = stream
        self._on_close = on_close
        self._lock = threading.Lock()
        self._commands = {}
        self._last = 0
        self._closed = None
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, number, kind, data):
        try:
            with self._lock:
                self._stream.sendall(_HEAD.pack(number, kind, len(data)) + data)
        except OSError:
            pass  # the reader's end of stream tells everyone

    def start(self, argv, *, cwd="/", env=None, stdin=False, merge=True, sink=None, errors=None):
        with self._lock:
            self._last += 1
            command = Command(self, self._last, sink, errors)
            if self._closed:
                command._end(None, self._closed)
                return command
            self._commands[self._last] = command
        flags = ("m" if merge else "") + ("i" if stdin else "")
        pairs = [f"{name}={value}" for name, value in (env or {}).items()]
        fields = [flags, cwd, str(len(pairs)), *pairs, *argv]
        self.send(command._number, EXEC, "\0".join(map(str, fields)).encode())
        return command

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            piece = self._stream.recv(min(1 << 20, count - len(data)))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    def _read(self):
        try:
            while True:
                number, kind, length = _HEAD.unpack(self._exactly(_HEAD.size))
                data = self._exactly(length)
                if kind == READY:
                    self.ready.set()
                command = self._commands.get(number)
                if command is None:
                    continue
                if kind == EXIT:
                    del self._commands[number]
                    command._end(int(data))
                    continue
                try:
                    command._data(kind, data)
                except Exception as error:  # the sink's own; whoever waits is to have it
                    del self._commands[number]
                    command._end(None, error)
        except (EOFError, OSError):
            pass
        failure = self._on_close()
        with self._lock:
            self._closed = failure
            commands, self._commands = list(self._commands.values()), {}
        for command in commands:
            command._end(None, failure)
        self.ready.set()
