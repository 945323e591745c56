import pytest

from kseg.data.sources.base import MASK_NAME, summarise

pytestmark = pytest.mark.backend_free


def test_the_digest_changes_with_the_identity_alone():
    assert summarise(2, ["a.png", 7]) == summarise(2, iter(("a.png", "7")))
    texts = {summarise(2, identity) for identity in (["a.png", 7], ["a.png", 8], [7, "a.png"], ["a.png7"], [])}
    assert len(texts) == 5
    assert all(text.startswith("2 images (") for text in texts)


@pytest.mark.parametrize("name", ["mask", "segmentation_mask", "label", "annotation", "gt", "ground_truth"])
def test_names_of_masks(name):
    assert MASK_NAME.search(name)
    assert not MASK_NAME.search("photo")
