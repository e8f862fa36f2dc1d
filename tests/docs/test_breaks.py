"""Long names may be broken on a phone, and nothing else is changed."""

import importlib.util

import pytest

from tests.docs.pages import DOCS

spec = importlib.util.spec_from_file_location("breaks", DOCS / "extensions" / "breaks.py")
breaks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(breaks)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<h1>pyneural.pde.spectral</h1>", "<h1>pyneural.<wbr>pde.<wbr>spectral</h1>"),
        ("relative_l2_of_all, short_one", "relative_<wbr>l2_<wbr>of_<wbr>all, short_one"),
        ("at the end of a long_sentence_here.", "at the end of a long_<wbr>sentence_<wbr>here."),
    ],
)
def test_long_names_have_breaks(text, expected):
    assert breaks.breakable(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        '<a href="packages/pyneural.models.flows.html#pyneural.models.NSF">here</a>',
        '<div class="highlight"><pre><span>torch.set_num_threads</span>(2)</pre></div>',
        r'<span class="math notranslate">\(\operatorname{a_long_name_of_a_rate}\)</span>',
        r'<div class="math notranslate">\[\mathrm{a_long_name_of_a_rate}\]</div>',
    ],
)
def test_links_programs_and_equations_stay(text):
    assert breaks.breakable(text) == text
