import pytest
import yaml

from kseg.storage.strict_yaml import load_yaml

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "'a' is there twice"),
        ("b:\n  a: 1\n  a: 1", "'a' is there twice"),
        ("a: &x [1]\nb: *x", "aliases are not allowed"),
        ("[" * 3000, "it is nested too deeply"),
        ("a: [", "while parsing a flow node"),
        ("!!python/object:os.system {}", "could not determine a constructor"),
    ],
)
def test_what_surprises_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        load_yaml(text)


def test_an_alias_bomb_is_refused_before_it_grows():
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    with pytest.raises(ValueError, match="aliases are not allowed"):
        load_yaml("\n".join(lines))


def test_numbers_are_those_of_json_and_the_rest_is_text():
    text = "a: 1:30\nb: 1e-3\nc: 010\nd: 0x10\ne: 1_000\nf: .5\ng: -3\nh: yes\ni: 2.0\nj: .inf"
    assert load_yaml(text) == {
        "a": "1:30",
        "b": 0.001,
        "c": "010",
        "d": "0x10",
        "e": "1_000",
        "f": 0.5,
        "g": -3,
        "h": True,
        "i": 2.0,
        "j": float("inf"),
    }


def test_what_kseg_writes_is_read_as_it_was():
    values = {"a": 1e-07, "b": [1, 2.5], "c": None, "d": True, "e": "text: with # signs", "f": {"x": 1e22}, "g": -0.0}
    assert load_yaml(yaml.safe_dump(values)) == values
