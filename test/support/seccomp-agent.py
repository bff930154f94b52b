"""A seccomp agent. seccomp-agent.py SOCKET ANSWER: an errno, or "continue".

Prints each container process state that it is sent as a line of JSON, then "call NUMBER" for each call it answers.
Source: config-linux.md "The Container Process State", seccomp_unotify(2).
"""
import fcntl, json, os, select, socket, struct, sys, threading

RECV, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND
CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def serve(connection, answer):
    text, fds, _, _ = socket.recv_fds(connection, 65536, 4)  # runc keeps its end open: no waiting for the end
    if not text:
        return  # the runtime gave up before its filter was there
    state = json.loads(text)
    assert len(fds) == 1, fds
    state["kind"] = os.readlink(f"/proc/self/fd/{fds[0]}")
    say(json.dumps(state))
    while True:
        wait_for_call(fds[0])  # ioctl(2) would wait with Python's lock held
        notification = bytearray(80)  # struct seccomp_notif
        try:
            fcntl.ioctl(fds[0], RECV, notification)
            call_id, _pid, _flags, number = struct.unpack_from("=QIIi", notification)
            say(f"call {number}")
            error, flags = (0, CONTINUE) if answer == "continue" else (-int(answer), 0)
            fcntl.ioctl(fds[0], SEND, struct.pack("=QqiI", call_id, 0, error, flags))
        except FileNotFoundError:
            pass  # who asked is gone


def wait_for_call(fd):
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    if any(event & select.POLLHUP for _, event in poller.poll()):
        say("end")
        sys.exit()  # this thread


server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
say("listening")
while True:
    threading.Thread(target=serve, args=(server.accept()[0], sys.argv[2]), daemon=True).start()
