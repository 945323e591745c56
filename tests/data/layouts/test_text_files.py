"""Text and JSON files of data sets."""

import pytest

from kseg.data.layouts.text_files import read_json, read_text
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free


def test_text_is_utf_8_with_or_without_a_byte_order_mark(tmp_path):
    for name, encoding in (("a.txt", "utf-8"), ("b.txt", "utf-8-sig")):
        (tmp_path / name).write_text("ü 日", encoding=encoding)
        assert read_text(tmp_path / name) == "ü 日"
    with pytest.raises(KsegError, match=r"none.txt cannot be read: .*No such file.* Expected text in UTF-8"):
        read_text(tmp_path / "none.txt")


def test_json_objects_are_converted_as_they_are_parsed(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [{"b": 1}, {"b": 2}]}')
    assert read_json(tmp_path / "a.json") == {"a": [{"b": 1}, {"b": 2}]}
    assert read_json(tmp_path / "a.json", lambda entry: entry.get("b", entry)) == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"a.json is not JSON: Expecting property name.* Export it again"),
        ("[" * 100_000, r"a.json is not JSON: it is nested too deeply. Export it again"),
        ("1" * 10_000, r"a.json is not JSON: Exceeds the limit"),
    ],
)
def test_text_that_is_not_json_is_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(KsegError, match=message):
        read_json(tmp_path / "a.json")
