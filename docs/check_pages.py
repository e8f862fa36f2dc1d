"""Looks at the built site in a browser: wide and as a phone, in light and in dark.

    python docs/check_pages.py [--out DIR] build/docs/html [PAGE ...]

needs ``pip install playwright`` and a Chromium, that of the system or of ``playwright install``. A
page fails if it asks for anything beyond the site, scrolls sideways, has an error in its console,
an equation that MathJax could not read, a text whose contrast with its ground is below 4.5 (3 where
it is large), not one heading of the first level, or a picture without a text for who cannot see it
or that did not load.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

WIDTHS = {"wide": 1280, "phone": 390}
PATIENCE = 180_000  # ms, for a busy machine
SCHEMES = ("light", "dark")
# WCAG 2: the contrast of each text that is seen with the first ground behind it that is not clear.
CONTRAST = """() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number);
      return m.length < 4 ? [...m, 1] : m };
  const light = c => { const [r, g, b] = c.map(v => { v /= 255;
      return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3]));
  const ground = e => { for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c[3] > 0.99) return c.slice(0, 3);
      if (c[3] > 0) return over(c, ground(e.parentElement)) }
      return [255, 255, 255] };
  const found = {};
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent.trim(), e = walk.currentNode.parentElement;
    if (!text || !e.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
    if (e.closest('script, style, noscript, svg, mjx-assistive-mml')) continue;
    const box = e.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;
    const style = getComputedStyle(e), back = ground(e);
    const size = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 700;
    const [a, b] = [light(over(parse(style.color), back)), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05), least = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
    if (ratio < least) {
      const key = `${e.tagName.toLowerCase()}.${e.className} ${style.color} on ${back}`;
      found[key] = `${ratio.toFixed(2)} < ${least}: ${key}: ${text.slice(0, 40)}`;
    }
  }
  return Object.values(found);
}"""
# Tables, programs and equations scroll by themselves; the page, or all that is on it, must not.
WIDER = """() => [document.documentElement, ...document.querySelectorAll('.main, .content')]
  .filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1)
  .map(e => `${e.className || 'page'} scrolls sideways: ${e.scrollWidth} of ${e.clientWidth} px`)
"""
OTHERS = """() => [
  ...(document.querySelectorAll('h1').length === 1 ? [] :
      [`${document.querySelectorAll('h1').length} headings of the first level`]),
  ...[...document.querySelectorAll('article img')]
      .filter(e => !e.alt || e.alt.endsWith('.png') || !e.naturalWidth)
      .map(e => `picture without text, or not loaded: ${e.getAttribute('src')}`),
  ...[...document.querySelectorAll('mjx-merror')]
      .map(e => `equation: ${e.textContent.slice(0, 80)}`),
  ...(document.querySelector('div.math, span.math') && !document.querySelector('mjx-container')
      ? ['equations are not set'] : []),
]"""


def main() -> int:
    """Checks the pages, and writes pictures of them if asked; 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("site", type=Path, help="folder of the built site")
    parser.add_argument("pages", nargs="*", help="some of its pages; default all")
    parser.add_argument("--out", type=Path, help="folder for pictures of the pages")
    args = parser.parse_args()
    site = args.site.resolve()
    every = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    made_by_sphinx = "_", "genindex", "py-modindex", "search"
    pages = args.pages or [page for page in every if not page.startswith(made_by_sphinx)]
    failed = check(site, pages, args.out)
    print(f"{len(pages)} pages looked at, {failed} failed")
    return int(failed > 0)


def check(site: Path, pages: list[str], out: Path | None) -> int:
    """How many of the pages fail."""
    from playwright.sync_api import sync_playwright

    failed = set()
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scheme in SCHEMES:
            for name, width in WIDTHS.items():
                size: Any = {"width": width, "height": 900}
                context = browser.new_context(viewport=size, color_scheme=scheme)
                for page in pages:
                    picture = out and out / f"{Path(page).with_suffix('')}-{name}-{scheme}.png"
                    problems = look(context, site, page, picture)
                    for problem in problems:
                        print(f"{page}, {name}, {scheme}: {problem}", flush=True)
                    if problems:
                        failed.add(page)
                context.close()
        browser.close()
    return len(failed)


def look(context: Any, site: Path, page: str, picture: Path | None) -> list[str]:
    """What is wrong with a page."""
    problems: list[str] = []
    tab = context.new_page()

    def hear(message: Any) -> None:
        if message.type == "error":
            problems.append(f"console: {message.text}")

    def watch(request: Any) -> None:
        if request.url.startswith(("http:", "https:")):
            problems.append(f"asks for {request.url}")

    tab.on("console", hear)
    tab.on("pageerror", lambda error: problems.append(f"error: {error}"))
    tab.on("request", watch)
    tab.set_default_timeout(PATIENCE)
    tab.goto((site / page).as_uri())
    # Pictures that wait to be scrolled to are loaded now.
    tab.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
    tab.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => 0)))")
    tab.evaluate("window.MathJax && MathJax.startup && MathJax.startup.promise")
    for script in (WIDER, OTHERS, CONTRAST):
        problems += tab.evaluate(script)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=picture, full_page=True)
    tab.close()
    return problems


if __name__ == "__main__":
    sys.exit(main())
