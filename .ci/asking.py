"""What the scripts that speak to a bus share: a port that is free, and one request with its answer."""

import http.client
import socket


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as each:
        return each.getsockname()[1]


def ask(connection, method, path, body=None, headers=None):
    """(status, body); (None, error) when nothing came. The connection is closed."""
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return None, str(error).encode()
    finally:
        connection.close()
