"""The one cookie of the service, in browsers whose rules for it are strict."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Demo, Opener, sign_in


def test_operator_comes_in_by_a_link_in_webmail(
    demo: Demo, new_context: Opener, stranger: str
) -> None:
    """The browser keeps the cookie back from another site's link; the session goes on."""
    page = new_context().new_page()
    sign_in(demo, page)
    for _ in range(2):
        page.goto(stranger)
        page.evaluate(
            "url => { const a = document.createElement('a'); a.href = url; a.textContent = 'desk';"
            " document.body.append(a); }",
            f"{demo.service}/ayuda/pendientes",
        )
        page.get_by_text("desk").click()
        expect(page).to_have_url(f"{demo.service}/ayuda/")
        expect(page.get_by_role("banner")).to_contain_text("Usuario: ayuda")
    page.get_by_role("button", name="Salir").click()
    expect(page).to_have_url(f"{demo.service}/ayuda/entrar")
    page.goto(f"{demo.service}/ayuda/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Entrar a la mesa de ayuda")
