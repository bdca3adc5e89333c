"""Answers every UDP datagram to port 5353 and 5354 with this node's name, the client's address
and the datagram itself. Runs on a back-end node."""

import selectors
import socket

name = socket.gethostname()
waiting = selectors.DefaultSelector()
for port in (5353, 5354):
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("", port))
    waiting.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in waiting.select():
        data, (address, port) = key.fileobj.recvfrom(2048)
        key.fileobj.sendto(f"{name} {address}:{port} ".encode() + data, (address, port))
