"""The site, made of these pages, the docstrings, the demos and bench/results by ``make docs``."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

from docutils import nodes  # noqa: E402

import pyneural  # noqa: E402

project = "pyneural"
author = "pyneural developers"
copyright = author
release = version = pyneural.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
    "extensions.api",
    "extensions.breaks",
    "extensions.equations",
    "extensions.gallery",
    "extensions.roofline",
]
exclude_patterns = ["README.md", "extensions"]
root_doc = "index"

# Pages are read as MyST; those with a kernelspec are notebooks, whose outputs the build makes. They
# are kept in the cache, and made again only where the code of the page has changed.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "docs" / "notebooks")
nb_execution_timeout = 3600  # of a cell, in seconds, on a busy machine
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # how far long work was, which a busy machine shows for more of it

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autosummary_generate = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = ["Shape", "Source"]
add_module_names = False
python_use_unqualified_type_names = True
default_role = "py:obj"
suppress_warnings = ["ref.python"]  # a short name of several attributes is no reference

html_theme = "furo"
html_title = "pyneural"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"


def unlink(app, path, parent, content):
    """In files of the repository, links to other files of it are text: they are no pages here."""
    content[0] = re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\1", content[0])


def describe(app, doctree):
    """Figures of notebooks without a text for who cannot see them get that of their section."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt"):
            section = image.parent
            while section.parent is not None and not isinstance(section, nodes.section):
                section = section.parent
            title = section.next_node(nodes.title)
            image["alt"] = (
                f"Figure of the section {title.astext() if title else app.config.project}"
            )


def setup(app):
    """Connects what this file defines."""
    app.connect("include-read", unlink)
    app.connect("doctree-read", describe)
