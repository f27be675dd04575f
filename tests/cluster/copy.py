"""Plain copies over TCP between hosts of a bed: one file to one host or to many, as a loop of copies
does it. Nothing is verified, resumed or shared between receivers.

    copy.py receive PORT FILE                          takes one connection; what comes is FILE
    copy.py send [--in-turn] FILE HOST:PORT...         to all at the same time, or one after another

A receiver prints `ready` when it listens. A sender prints the seconds from before its first
connection until the last receiver has said that it has everything.
"""

import socket
import sys
import threading
import time


def receive(port, path):
    with socket.create_server(("", port)) as server:
        print("ready", flush=True)
        connection, _ = server.accept()
    with connection, open(path, "wb", buffering=0) as out:
        buffer = memoryview(bytearray(1 << 18))
        while got := connection.recv_into(buffer):
            out.write(buffer[:got])
        connection.sendall(b"!")


def send(path, host, port, failures):
    try:
        with socket.create_connection((host, port)) as connection, open(path, "rb") as file:
            connection.sendfile(file)
            connection.shutdown(socket.SHUT_WR)
            if connection.recv(1) != b"!":
                raise OSError("the receiver ended early")
    except OSError as error:
        failures.append(f"{host}:{port}: {error}")


def send_all(words):
    in_turn = words[0] == "--in-turn"
    path, *receivers = words[in_turn:]
    failures = []
    threads = [
        threading.Thread(target=send, args=(path, host, int(port), failures))
        for host, port in (receiver.split(":") for receiver in receivers)
    ]
    start = time.monotonic()
    for thread in threads:
        thread.start()
        if in_turn:
            thread.join()
    for thread in threads:
        thread.join()
    print(f"{time.monotonic() - start:.3f}")
    sys.exit("\n".join(failures) or 0)


match sys.argv[1:]:
    case ["receive", port, path]:
        receive(int(port), path)
    case ["send", *words] if len(words) > 1:
        send_all(words)
    case _:
        sys.exit(__doc__)
