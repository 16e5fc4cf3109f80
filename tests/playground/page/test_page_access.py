"""The page of a server with a key, and the pages of other sites that may use the server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playground_helpers import alone, eventually, model_file, serving
from test_page_writing import write_text

from char_rnn.playground.access import Access

SITE = "https://chat.example"
PERMISSIONS = ["local-network-access"]  # Chromium asks a person before a site may reach this machine


def test_a_server_with_a_key_asks_for_it_once(browser: Any) -> None:
    with serving({"one": model_file()}, access=Access("sesame")) as now:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{now.port}/#model=one&key=wrong")
        assert page.evaluate("location.hash") == "#model=one"
        page.get_by_text("The server does not accept this key.").wait_for()
        field = page.get_by_label("This server requires an API key")
        field.fill("sesame")
        field.press("Enter")
        page.locator("#generate:enabled").wait_for()
        write_text(page, "abc", length=20)
        page.reload()
        page.locator("#generate:enabled").wait_for()
        assert page.locator("dialog").count() == 0
        page.close()


@pytest.mark.slow
def test_an_allowed_site_embeds_the_page(browser: Any) -> None:
    """The page is shown in a frame of this site, and in none of another."""
    with serving({"one": model_file()}, access=Access(origins=("https://blog.example",))) as now:
        context = browser.new_context(permissions=PERMISSIONS)
        page = context.new_page()
        frame = f'<iframe src="http://127.0.0.1:{now.port}/"></iframe>'
        page.route("https://*.example/", lambda route: route.fulfill(body=frame, content_type="text/html"))
        page.goto("https://blog.example/")
        page.frame_locator("iframe").locator("#generate:enabled").wait_for()
        page.goto("https://evil.example/")
        page.wait_for_load_state("load")
        assert page.frame_locator("iframe").locator("#generate").count() == 0
        context.close()


STREAM = """async ([base, body]) => {
  const headers = {"Content-Type": "application/json", Authorization: "Bearer sesame", "X-Stainless-Lang": "js"};
  const url = `${base}/v1/chat/completions`;
  const refused = await fetch(url, {method: "POST", headers: {...headers, Authorization: "Bearer no"}, body});
  const models = await (await fetch(`${base}/v1/models`, {headers})).json();
  const response = await fetch(url, {method: "POST", headers, body});
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let raw = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) raw += part.value;
  const chunks = raw.split("\\n\\n").filter((event) => event.startsWith("data: {"));
  const deltas = chunks.map((event) => JSON.parse(event.slice(6)).choices[0].delta);
  const text = deltas.map((delta) => delta.content ?? "").join("");
  return [refused.status, (await refused.json()).error.code, models.data[0].id, text];
}"""


@pytest.mark.slow
def test_a_browser_client_of_an_allowed_site(browser: Any) -> None:
    """Its requests need a preflight: they have JSON and a key."""
    with serving({"one": model_file()}, access=Access("sesame", (SITE,))) as now:
        context = browser.new_context(permissions=PERMISSIONS)
        page = context.new_page()
        page.route("https://*.example/", lambda route: route.fulfill(body="<p>", content_type="text/html"))
        messages = [{"role": "user", "content": "ab"}]
        body = json.dumps({"model": "one", "messages": messages, "max_tokens": 90, "seed": 1, "stream": True})
        page.goto(SITE)
        found = page.evaluate(STREAM, [f"http://127.0.0.1:{now.port}", body])
        assert found == [401, "invalid_api_key", "one", alone(model_file(), "ab", 90, seed=1)]
        page.goto("https://evil.example/")
        with pytest.raises(Exception, match="Failed to fetch"):
            page.evaluate(STREAM, [f"http://127.0.0.1:{now.port}", body])
        eventually(now.is_idle)
        context.close()
