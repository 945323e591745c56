import pytest

from kseg.reports.page import Picture, render

pytestmark = pytest.mark.backend_free


def test_text_is_escaped_and_paths_may_break_after_a_slash():
    sections = [{"preset": "light", "strengths": "<b>", "pictures": [Picture("data:x", "a/<i>.png")]}]
    html = render("augment.html", title="A & B", about="<script>", sections=sections)
    assert "<title>A &amp; B</title>" in html
    assert "&lt;script&gt;" in html
    assert "<p>&lt;b&gt;</p>" in html
    assert "<figcaption>a/<wbr>&lt;i&gt;.png</figcaption>" in html
