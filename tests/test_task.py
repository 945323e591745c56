import pytest

from kseg.task import Task, safe_names

pytestmark = pytest.mark.backend_free

TASKS = [Task(), Task("multiclass", ("background", "cat", "dog")), Task("multilabel", ("cat", "dog"))]


@pytest.mark.parametrize(
    ("task", "text", "outputs", "foreground"),
    [
        (TASKS[0], "binary: foreground against background", 1, ("foreground",)),
        (TASKS[1], "3 classes: 0 background, 1 cat, 2 dog", 3, ("cat", "dog")),
        (TASKS[2], "2 labels: 0 cat, 1 dog", 2, ("cat", "dog")),
    ],
)
def test_a_task_says_what_its_channels_are(task, text, outputs, foreground):
    assert (str(task), task.outputs, task.foreground_classes) == (text, outputs, foreground)


def test_safe_names_are_unique_and_stable():
    names = ["a b", "a-b", "a_b_2", "", "/", "ä"]
    assert safe_names(names) == ["a_b", "a_b_2", "a_b_2_2", "class", "class_2", "ä"]
    assert safe_names(names) == safe_names(names)
    assert len(set(safe_names(["x"] * 50))) == 50
