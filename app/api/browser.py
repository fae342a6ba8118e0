"""Pages for people who come here with a browser: self-contained, of one heading, some words and a button at most."""

import base64
import hashlib
from html import escape

from starlette.responses import HTMLResponse

_STYLE = """
body{margin:0;background:#f4f5f7;color:#1d2530;font:1.0625rem/1.5 system-ui,sans-serif}
main{max-width:30rem;margin:12vh auto 0;padding:2rem;background:#fff;border-radius:.75rem}
h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.25}
button{margin-top:.5rem;padding:.75rem 1.25rem;border:2px solid #1d4ed8;border-radius:.5rem;
background:#1d4ed8;color:#fff;font:inherit;cursor:pointer}
button:focus-visible{outline:3px solid #93b4ff;outline-offset:2px}
button.quiet{background:#fff;color:#1d4ed8}
@media(max-width:34rem){main{margin-top:0;border-radius:0}}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}


def page(title: str, words: str, button: str = "", *, status: int = 200) -> HTMLResponse:
    """Without scripts, and nothing from elsewhere. `button` is HTML, what comes before it is text."""
    form = f'<form method="post">{button}</form>' if button else ""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
        f'<body><main><h1>{escape(title)}</h1><p role="status">{escape(words)}</p>{form}</main></body></html>',
        status_code=status,
        headers=_HEADERS,
    )
