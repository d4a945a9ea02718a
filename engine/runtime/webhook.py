"""Posts one alert as JSON; a process of its own, so that nothing it does can harm the engine. See `alerts.py`.

Standard input: {"url", "timeout_s", "alert"}. A server that can't be reached, is busy (429) or fails (5xx) is tried again
while there is time. Exit code 0: taken; 1: not taken; 2: refused for good.
"""

import http.client
import json
import sys
import time
import urllib.error
import urllib.request
from typing import Final

PAUSES_S: Final = (0.0, 0.5, 1.0, 2.0)
TAKEN, NOT_TAKEN, REFUSED = 0, 1, 2
_BUSY: Final = 429
_SERVER: Final = 500


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Another address would get a GET without the alert, and its answer would pass for taken."""

    def redirect_request(self, *_: object) -> None:
        """Follow none: the answer is the HTTPError of its code."""


_open: Final = urllib.request.build_opener(_NoRedirect).open


def post(url: str, body: bytes, timeout_s: float) -> int:
    """Post once; return TAKEN, NOT_TAKEN (may be tried again) or REFUSED."""
    if not url.startswith(("http://", "https://")):
        return REFUSED
    headers = {"Content-Type": "application/json", "User-Agent": "kalshi-margin-engine"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - its scheme was looked at
    try:
        with _open(request, timeout=timeout_s):
            return TAKEN
    except urllib.error.HTTPError as error:
        return NOT_TAKEN if error.code == _BUSY or error.code >= _SERVER else REFUSED
    except (OSError, http.client.HTTPException):
        return NOT_TAKEN


def main() -> int:
    """Post what standard input holds, again when that may help; return the exit code."""
    given = json.load(sys.stdin)
    body = json.dumps(given["alert"]).encode()
    deadline = time.monotonic() + given["timeout_s"]
    code = NOT_TAKEN
    for pause_s in PAUSES_S:
        left_s = deadline - time.monotonic() - pause_s
        if left_s <= 0:
            break
        time.sleep(pause_s)
        code = post(given["url"], body, left_s)
        if code != NOT_TAKEN:
            break
    return code


if __name__ == "__main__":
    sys.exit(main())
