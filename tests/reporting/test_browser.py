"""A browser opens the page: no complaint on its console, no request, at a phone's width too."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

# What a browser asks its maker for on its own, whatever the page.
OWN = re.compile(r"https?://[^/]*\.(google|googleapis|gvt1|gstatic)\.com(:\d+)?(/|$)")

FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
]


@pytest.fixture(scope="module")
def chromium():
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        pytest.skip("no Chromium here: install Debian's package chromium to run these")
    return found


@pytest.fixture
def opened(chromium, tmp_path):
    """Opens a file; gives what the console said, the addresses asked for, and the page's width."""

    def call(path, width=1280):
        # A frame of that width: a headless window is never narrower than 500 pixels.
        frame = tmp_path / "frame.html"
        frame.write_text(
            f"<body><iframe id=f src='{path.as_uri()}' style='width:{width}px;height:900px'>"
            "</iframe><script>onload=()=>{const d=document.getElementById('f').contentDocument;"
            "document.body.dataset.width=d.documentElement.scrollWidth;"
            "document.body.dataset.dead=[...d.images].filter(i=>!i.naturalWidth).length}</script>"
        )
        log = tmp_path / "net.json"
        done = subprocess.run(
            [chromium, *FLAGS, "--allow-file-access-from-files"]
            + [f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}"]
            + ["--dump-dom", frame.as_uri()],
            capture_output=True, text=True, timeout=600, check=True,
        )  # fmt: skip
        console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
        events = json.loads(log.read_text())["events"]
        urls = {str(event.get("params", {}).get("url", "")) for event in events}
        requests = {url for url in urls if url.startswith("http") and not OWN.match(url)}
        seen = dict(re.findall(r'data-(\w+)="(\d+)"', done.stdout))
        return console, requests, {name: int(value) for name, value in seen.items()}

    return call


@pytest.mark.parametrize("kind", ["pixel", "class-conditional"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens(opened, reported, kind, width):
    console, requests, seen = opened(reported.root / kind / "report.html", width)
    assert console == []
    assert requests == set()
    assert seen["dead"] == 0
    assert seen["width"] <= width  # nothing to scroll sideways


def test_a_bad_page_would_be_noticed(opened, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<img src='http://127.0.0.1:9/x.png'><div style='width:3000px'>wide</div>"
        "<script>throw new Error('boom')</script>"
    )
    console, requests, seen = opened(bad)
    assert any("boom" in line for line in console)
    assert requests == {"http://127.0.0.1:9/x.png"}
    assert seen["width"] >= 3000
    assert seen["dead"] == 1
