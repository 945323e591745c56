import ast
from pathlib import Path

import pytest

from kseg.diagnosis.rules import RULES, cause_of, code_of
from kseg.findings import CAUSES, Finding

pytestmark = pytest.mark.backend_free

ROOT = Path(__file__).parent.parent / "kseg"


def test_another_cause_is_refused():
    with pytest.raises(ValueError, match="There is no cause 'empty_mask'; expected one of images_not_finite, "):
        Finding("empty_mask", "note", "1 mask", "Look at it.")


def test_a_finding_in_words():
    finding = Finding("leak", "error", "2 images", "Remove them.", "The score is too good.", ("a.png", "b.png"))
    assert str(finding) == "leak: 2 images. The score is too good. Remove them."
    assert (finding.count, finding.as_warning().severity, finding.severity) == (2, "warning", "error")


def test_every_cause_is_named_somewhere_and_every_rule_of_the_detector_is_a_cause():
    causes = {rule.cause for rule in RULES}
    assert causes <= CAUSES.keys()
    for folder in ("audit", "checks"):
        for path in (ROOT / folder).glob("*.py"):
            constants = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
            causes |= {value for value in constants if value in CAUSES}
    assert causes == CAUSES.keys()


def test_each_rule_has_a_number_for_the_logs():
    causes = [rule.cause for rule in RULES]
    assert [cause_of(code_of(cause)) for cause in causes] == causes
    # Histories hold these numbers.
    assert [code_of(cause) for cause in (None, "not_finite", "not_learning", "full_masks")] == [0, 1, 9, 11]
