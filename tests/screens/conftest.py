"""What every test of pages shares: a browser, a page that must not raise, and a unit's pages on a port of their own."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
PICTURES = Path("out/screens")
SCREEN_PX = (1280, 800)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "install Chromium: apt install chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def profile(browser: Browser) -> BrowserContext:
    """One profile for a module's pages: a new one costs as much as all that a page does."""
    made = browser.new_context(viewport={"width": SCREEN_PX[0], "height": SCREEN_PX[1]})
    made.new_page()  # one that stays, so that the renderer does too
    return made


@pytest.fixture
def page(profile: BrowserContext) -> Iterator[Page]:
    """A page that must not raise. Each test serves on a port of its own, so that only cookies could be left to it."""
    profile.clear_cookies()
    made = profile.new_page()
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    yield made
    made.close()
    assert errors == []


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of `app` on a free port of loopback, for as long as the block runs."""
    settings = uvicorn.Config(
        app, host="127.0.0.1", port=0, http="h11", log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def fits(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))
