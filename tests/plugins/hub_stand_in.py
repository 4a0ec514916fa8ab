"""A Hub in one process: all that huggingface_hub's client asks for to fill and fetch repositories.

Written after what the client sends and reads, release 2.4; it keeps repositories in memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["Hub", "hub_running"]

COMMIT = "c0ffee" + 34 * "0"


@dataclass
class Hub:
    """Its repositories, ``models/OWNER/NAME`` or ``datasets/OWNER/NAME``, and what was asked."""

    address: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    created: dict[str, dict[str, Any]] = field(default_factory=dict)
    validated: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def hub_running() -> Iterator[Hub]:
    """One that listens on this machine alone."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = urlsplit(self.path).path
            hub.asked.append(f"POST {path}")
            if path == "/api/repos/create":
                asked = json.loads(body)
                kind = asked.get("type", "model")
                name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
                hub.files.setdefault(f"{kind}s/{name}", {})
                hub.created[f"{kind}s/{name}"] = asked
                prefix = "" if kind == "model" else f"{kind}s/"
                self._json({"url": f"{hub.address}/{prefix}{name}", "id": name, "name": name})
            elif path == "/api/validate-yaml":
                hub.validated.append(json.loads(body))
                self._json({"errors": [], "warnings": []})
            elif found := re.fullmatch(r"/api/(\w+/[^/]+/[^/]+)/preupload/main", path):
                files = json.loads(body)["files"]
                self._json(
                    {
                        "files": [
                            {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                            for f in files
                        ]
                    }
                )
            elif found := re.fullmatch(r"/api/(\w+/[^/]+/[^/]+)/commit/main", path):
                there = hub.files[found[1]]
                for line in map(json.loads, body.splitlines()):
                    value = line["value"]
                    if line["key"] == "file":
                        there[value["path"]] = base64.b64decode(value["content"])
                    elif line["key"] == "deletedFile":
                        del there[value["path"]]
                where = f"{hub.address}/{found[1].removeprefix('models/')}"
                self._json({"commitUrl": f"{where}/commit/{COMMIT}", "commitOid": COMMIT})
            else:
                self._missing()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"GET {path}")
            if found := re.fullmatch(r"/api/(\w+/[^/]+/[^/]+)(/(?:revision|tree)/\w+)?", path):
                there = hub.files.get(found[1])
                if there is None:
                    self._missing()
                elif "/tree/" in path:
                    self._json(
                        [
                            {"type": "file", "path": p, "size": len(c), "oid": _oid(c)}
                            for p, c in there.items()
                        ]
                    )
                else:
                    name = found[1].split("/", 1)[1]
                    siblings = [{"rfilename": p} for p in there]
                    self._json({"id": name, "sha": COMMIT, "siblings": siblings, "private": False})
            else:
                self._file(path, with_content=True)

        def do_HEAD(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"HEAD {path}")
            self._file(path, with_content=False)

        def _file(self, path: str, *, with_content: bool) -> None:
            found = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/\w+/(.+)", path)
            kind = "datasets" if found and found[1] else "models"
            content = found and hub.files.get(f"{kind}/{found[2]}", {}).get(found[3])
            if content is None:
                self._missing()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{_oid(content)}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if with_content:
                self.wfile.write(content)

        def _json(self, content: Any) -> None:
            text = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _missing(self) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
