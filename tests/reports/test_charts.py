import re
from xml.etree import ElementTree

import pytest

from kseg.reports.charts import line_chart, scatter_chart

pytestmark = pytest.mark.backend_free


def points(svg):
    return [
        [tuple(map(float, pair.split(","))) for pair in line.split()]
        for line in re.findall(r'polyline [^>]*points="([^"]*)"', svg)
    ]


def test_values_are_where_the_axes_say():
    svg = line_chart("F1", {"f1": [0.0, 0.5, 1.0], "val_f1": [1.0, None, 0.0]}, top=1.0)
    ElementTree.fromstring(svg)  # well formed
    first, second = points(svg)
    assert first[1][0] == (first[0][0] + first[2][0]) / 2
    assert first[1][1] == (first[0][1] + first[2][1]) / 2
    assert first[0][1] > first[2][1]  # up is more
    assert second == [(first[0][0], first[2][1]), (first[2][0], first[0][1])]  # the gap is left out


@pytest.mark.parametrize("values", [[], [None], [float("nan")], [0.0], [3.0], [2.0, 2.0], [float("inf"), 1.0]])
def test_any_values_give_a_chart(values):
    svg = line_chart("Loss", {"loss": values}, [(1, "a <finding>")])
    ElementTree.fromstring(svg)
    assert "nan" not in re.sub(r"<title>.*?</title>", "", svg)
    assert "a &lt;finding&gt;" in svg


@pytest.mark.parametrize("log", [False, True])
def test_points_of_a_scatter(log):
    svg = scatter_chart("F1", "size", [(10, 0.2, "a"), (100, 0.4, "b&c"), (1000, float("nan"), "c")], log=log)
    ElementTree.fromstring(svg)
    places = [float(x) for x in re.findall(r'cx="([^"]*)"', svg)]
    assert len(places) == 2
    left, right = 66, 630
    share = 0.5 if log else 90 / 990
    assert places == [left, pytest.approx(left + share * (right - left), abs=0.1)]
    ElementTree.fromstring(scatter_chart("F1", "size", []))
