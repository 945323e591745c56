"""The HTML frame of a report."""

from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5a636e; --paper: #fff; --card: #f5f6f8; --line: #d9dde2;
  --error: #b3261e; --warning: #8a5a00; --note: #2f5f9e; --bar: #2a7f62; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #9aa4af; --paper: #15181c; --card: #1e2227;
  --line: #343a41; --error: #ff8a80; --warning: #f0b429; --note: #8ab4f8; --bar: #4fb892; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 68rem; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
h1 + p { margin: .2rem 0 1.2rem; color: var(--soft); }
h2 { font-size: 1.1rem; margin: 0 0 .3rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0 0 1.2rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-left: .3rem solid var(--line);
  border-radius: .4rem; padding: .9rem 1.1rem; margin: 1rem 0; }
section p { margin: .2rem 0; max-width: 60rem; }
.error { border-left-color: var(--error); } .error b { color: var(--error); }
.warning { border-left-color: var(--warning); } .warning b { color: var(--warning); }
.note { border-left-color: var(--note); } .note b { color: var(--note); }
b { text-transform: uppercase; font-size: .75rem; letter-spacing: .05em; }
code, summary, figcaption { font-size: .82rem; } code { color: var(--soft); }
.pictures { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: .7rem; }
figure { margin: 0; width: 9.6rem; } figcaption { color: var(--soft); overflow-wrap: anywhere; line-height: 1.3; }
figure img, figure div { display: block; width: 9.6rem; height: 9.6rem; object-fit: contain; background: var(--line);
  border-radius: .25rem; }
figure div { display: grid; place-items: center; color: var(--soft); font-size: .8rem; }
.rows { display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: .8rem; margin-top: .7rem; }
.rows figure, .rows img { width: 100%; height: auto; }
details { margin-top: .6rem; } details li { font-size: .82rem; overflow-wrap: anywhere; }
svg { width: 100%; max-width: 40rem; height: 9rem; display: block; } svg rect { fill: var(--bar); }
svg text { fill: var(--soft); font-size: 11px; }
"""


def document(title: str, about: str, body: str) -> str:
    """A page of HTML with a title, a line about it, both as text, and a body, as HTML."""
    title = escape(title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n<h1>{title}</h1>"
        f"<p>{escape(about)}</p>\n{body}\n</body></html>\n"
    )
