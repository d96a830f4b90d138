"""The double's port on the loopback: taken when this is imported, listened to by Hub.start."""

import atexit
import socket

# asyncio sends at once (TCP_NODELAY) only where the protocol is named: else 40 ms a request
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
atexit.register(listener.close)
ENDPOINT = f"http://127.0.0.1:{listener.getsockname()[1]}"
