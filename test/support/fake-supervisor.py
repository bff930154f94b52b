"""In the supervisor's place, to look at the keeper alone: what it is asked for is the first word, the answer goes to the file
that is the second. It has 3, 4 and 5 as native-shim/keeper.h says."""
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys

KEEP, FORGET, END_INPUT = 1, 2, 3
CHILD, LOCK, IN = 1 << 0, 1 << 1, 1 << 5
F_SETPIPE_SZ = 1031
orders = socket.socket(fileno=4)
news = open(5, "rb", buffering=0)
os.set_blocking(5, True)


def order(what, pid, present=0, fds=()):
    packet = struct.pack("<IiIIQ", what, pid, present, 1, 0)
    socket.send_fds(orders, [packet], list(fds)) if fds else orders.send(packet)


def hear():
    return struct.unpack("<4i", news.read(16))


def full():
    """More news than the pipe holds, and nobody reads: the keeper goes on; then all of them come, once."""
    fcntl.fcntl(5, F_SETPIPE_SZ, 4096)
    count, first = 1000, 5_000_000  # no process has such a number
    held, null = os.pidfd_open(os.getpid()), os.open("/dev/null", os.O_RDWR)
    for pid in range(first, first + count):
        order(KEEP, pid, CHILD | LOCK, [held, null])
    reader, writer = os.pipe()
    order(KEEP, first + count, CHILD | IN, [held, writer])
    os.close(writer)
    order(END_INPUT, first + count)
    ended = os.read(reader, 1) == b""  # it has read all that came before
    said = [hear() for _ in range(count + 2)]
    pids = [pid for pid, *_ in said]
    for pid in pids[1:]:
        order(FORGET, pid)
    return ended and said[0][:3] == (0, 1, 0) and pids[1:] == list(range(first, first + count + 1))


def nonsense():
    """Packets that are no orders: their descriptors are closed, and the next order counts."""
    hear()
    reader, writer = os.pipe()
    orders.send(b"x")
    orders.send(b"x" * 100)
    order(FORGET, -1)
    order(99, 1)
    socket.send_fds(orders, [struct.pack("<IiIIQ", FORGET, 1, 0, 1, 0)], [writer])
    socket.send_fds(orders, [b"short"], [writer])
    os.close(writer)
    closed = os.read(reader, 1) == b""
    order(KEEP, 5_000_000, CHILD, [os.pidfd_open(os.getpid())])
    heard = hear()
    order(FORGET, 5_000_000)
    return closed and heard == (5_000_000, 0, 0, -1)


def scarce():
    """A keeper that has no number free for a container's descriptors: the container is killed, and that is told."""
    hear()
    held, null = os.pidfd_open(os.getpid()), os.open("/dev/null", os.O_RDWR)
    kept = []
    for pid in range(5_000_000, 5_000_100):
        child = subprocess.Popen(["sleep", "1000"])
        order(KEEP, child.pid, CHILD | LOCK, [held, null])
        kept.append(child)
        pid, ended, status, _ = hear()
        if ended:
            break
    gone = kept[-1].wait() == -signal.SIGKILL
    for child in kept:
        order(FORGET, child.pid)
        child.kill()
    return len(kept) > 3 and pid == kept[-1].pid and (ended, status) == (2, signal.SIGKILL) and gone


with open(sys.argv[2], "w") as out:
    out.write(repr({"full": full, "nonsense": nonsense, "scarce": scarce}[sys.argv[1]]()))
