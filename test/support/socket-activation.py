"""What systemd does for a socket unit: PATH COMMAND... A connection starts the command, which gets the listening socket as
descriptor 3 (sd_listen_fds(3)); when it has ended, the next one starts it again. SIGTERM ends this, and only this."""
import os
import select
import socket
import sys

path, command = sys.argv[1], sys.argv[2:]
os.umask(0o177)
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(path)
listener.listen(128)
print("listening", flush=True)
while True:
    select.select([listener], [], [])
    child = os.fork()
    if child == 0:
        os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)  # it may have been 3 already
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
        os.execv(command[0], command)
    os.waitpid(child, 0)
