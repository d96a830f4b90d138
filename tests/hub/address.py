"""The double's port on the loopback: taken when this is imported, listened to by Hub.start."""

import atexit
import socket

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
atexit.register(listener.close)
ENDPOINT = f"http://127.0.0.1:{listener.getsockname()[1]}"
