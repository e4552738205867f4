#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Drives a headless Chromium through chromedriver (W3C WebDriver, JSON over HTTP).

  browser.py STATE open PORT CHROMIUM PROFILE   a session with the chromedriver on PORT
  browser.py STATE go URL
  browser.py STATE js SCRIPT [ARGUMENT...]      prints what it returns
  browser.py STATE until SECONDS SCRIPT [ARGUMENT...]   until it returns true; else prints what it
                                                does return, exit status 1
  browser.py STATE size WIDTH HEIGHT
  browser.py STATE scheme light|dark
  browser.py STATE scripts on|off
  browser.py STATE press KEY                    tab, shift+tab, enter
  browser.py STATE log                          what the console has said since the last time
  browser.py STATE tree                         roles and names, as a screen reader gets them
  browser.py STATE shot FILE                    of all of the page, PNG
  browser.py STATE pid                          of the browser
  browser.py STATE quit
  browser.py STATE header URL NAME              without the browser

STATE is a file that remembers the session.
"""

import base64
import json
import sys
import time
import urllib.error
import urllib.request

PATIENCE_S = 30
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
KEYS = {"tab": ["\ue004"], "shift+tab": ["\ue008", "\ue004"], "enter": ["\ue007"]}


class Browser:
    def __init__(self, state):
        self.file = state
        self.state = {}

    def load(self):
        with open(self.file, encoding="utf-8") as file:
            self.state = json.load(file)

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.state['port']}{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        # No proxy of the surroundings: it is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            sys.exit(f"{path}: {error.read().decode(errors='replace')[:2000]}")

    def tell(self, command, body=None):
        """A command of the session."""
        path = f"/session/{self.state['session']}/{command}"
        return self.call("POST", path, {} if body is None else body)

    def devtools(self, command, **parameters):
        return self.tell("goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, port, chromium, profile):
        self.state = {"port": int(port)}
        options = {"binary": chromium, "args": FLAGS + [f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        value = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.state["session"] = value["sessionId"]
        self.state["pid"] = value["capabilities"].get("goog:processID", 0)
        with open(self.file, "w", encoding="utf-8") as file:
            json.dump(self.state, file)

    def go(self, url):
        self.tell("url", {"url": url})

    def js(self, script, *arguments):
        value = self.tell("execute/sync", {"script": script, "args": arguments})
        print(value if isinstance(value, str) else json.dumps(value))

    def until(self, seconds, script, *arguments):
        deadline = time.monotonic() + float(seconds)
        while True:
            value = self.tell("execute/sync", {"script": script, "args": arguments})
            if value is True:
                return
            if time.monotonic() > deadline:
                print(value)
                sys.exit(1)
            time.sleep(0.1)

    def size(self, width, height):
        self.devtools("Emulation.setDeviceMetricsOverride", width=int(width),
                      height=int(height), deviceScaleFactor=1, mobile=False)

    def scheme(self, name):
        feature = {"name": "prefers-color-scheme", "value": name}
        self.devtools("Emulation.setEmulatedMedia", features=[feature])

    def scripts(self, word):
        self.devtools("Emulation.setScriptExecutionDisabled", value=word == "off")

    def press(self, key):
        down = [{"type": "keyDown", "value": value} for value in KEYS[key]]
        up = [{"type": "keyUp", "value": value} for value in reversed(KEYS[key])]
        self.tell("actions", {"actions": [
            {"type": "key", "id": "keyboard", "actions": down + up}]})

    def log(self):
        for entry in self.tell("se/log", {"type": "browser"}):
            print(entry["level"], entry["message"])

    def tree(self):
        for node in self.devtools("Accessibility.getFullAXTree")["nodes"]:
            if node.get("ignored"):
                continue
            role = node.get("role", {}).get("value", "")
            name = node.get("name", {}).get("value", "")
            live = [p["value"].get("value") for p in node.get("properties", [])
                    if p["name"] in ("live", "level")]
            print(" ".join([role, *[f"[{value}]" for value in live], name]).rstrip())

    def shot(self, file):
        data = self.devtools("Page.captureScreenshot", format="png",
                             captureBeyondViewport=True)["data"]
        with open(file, "wb") as out:
            out.write(base64.b64decode(data))

    def pid(self):
        print(self.state["pid"])

    def quit(self):
        self.call("DELETE", f"/session/{self.state['session']}")

    def header(self, url, name):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=PATIENCE_S) as answer:
            print(answer.headers.get(name, ""))


def main():
    browser = Browser(sys.argv[1])
    command = sys.argv[2]
    if command not in ("open", "header"):
        browser.load()
    getattr(browser, command)(*sys.argv[3:])


main()
