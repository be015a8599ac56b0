"""The list of what happens, as somebody sees it who sits before it."""

from __future__ import annotations

import json
import re
import time

from playwright.sync_api import Page, expect

from tests.browser import scenes
from tests.browser.conftest import PHONE, Opener
from tests.browser.page_server import PageServer

FRAMES = """
    window.frames_ms = [];
    let last = performance.now();
    const tick = (now) => { frames_ms.push(now - last); last = now; requestAnimationFrame(tick); };
    requestAnimationFrame(tick);
"""
HOSTILE = "<img src=x onerror=\"document.title='broken'\"><b>bold</b>"


def rows(page: Page) -> list[list[str]]:
    """Return kind, outcome and text of the rows in sight, as a screen reader reads them."""
    found = page.evaluate(
        """() => [...document.querySelectorAll('#rows .row')]
            .map((row) => ['.kind', '.outcome', '.what a'].map((part) => row.querySelector(part).textContent))"""
    )
    return [list(map(str, row)) for row in found]


def shows(page: Page, text: str) -> None:
    expect(page.locator("#rows .what a", has_text=text).first).to_be_visible()


def test_what_happens_is_seen_as_it_happens(opened: Opener, server: PageServer) -> None:
    page = opened()
    expect(page.get_by_text("Listening")).to_be_visible()
    scenes.access(server, scenes.DENIED, time.time(), allow=False)
    scenes.task(server, scenes.TASK, time.time())
    scenes.checkpoint(server, time.time() + 0.5, 5)
    scenes.budget(server, time.time() + 0.6, 80)
    shows(page, "$40.00 of $50.00")
    assert rows(page) == [
        ["budget", "80 %", "light: $40.00 of $50.00 reserved or spent"],
        ["ledger", "signed", "5 new entries, 5 in all"],
        ["task", "succeeded", "light"],
        ["run", "succeeded", "light"],
        ["task", "accepted", "light"],
        ["decision", "deny", "session risk too high"],
        ["intent", "received", "read dataset:finance.q4"],
        ["intent", "published", "read dataset:finance.q4"],
    ]
    expect(page.locator("#counted")).to_have_text("8 messages")
    expect(page.locator("#rows .row", has_text="succeeded").first.locator(".cost")).to_have_text("5 ¢")
    expect(page.locator("#state-text")).to_have_text("Live")
    expect(page.locator(".graphs tr", has_text="Charged").locator("td").first).to_have_text("5 ¢")


def test_a_history_that_comes_topic_by_topic_is_shown_in_the_order_of_time(opened: Opener, server: PageServer) -> None:
    now = time.time()
    messages = []
    for ago, topic in ((1, "mesh.task.dead"), (3, "mesh.task.failed"), (2, "mesh.task.expired")):
        server.history.clear()
        server.publish(topic, {"type": topic, "subject": f"task_{ago}", "data": {"agent": "light"}}, ts=now - ago)
        messages.append(server.history[0][1])
    server.history[:] = list(enumerate(messages, start=1))
    page = opened()
    shows(page, "light")
    assert [outcome for _, outcome, _ in rows(page)] == ["dead", "expired", "failed"]


def test_filters_narrow_the_list_and_stand_in_the_address(opened: Opener, server: PageServer) -> None:
    scenes.access(server, scenes.ALLOWED, time.time() - 9, allow=True)
    scenes.access(server, scenes.DENIED, time.time() - 8, allow=False)
    scenes.failed_task(server, scenes.FAILED_TASK, time.time() - 5)
    page = opened()
    shows(page, "summarizer")
    page.get_by_label("Decisions").check()
    expect(page.locator("#counted")).to_have_text("2 of 10 messages")
    page.get_by_label("Outcome").select_option("deny")
    expect(page.locator("#counted")).to_have_text("1 of 10 messages")
    expect(page).to_have_url(f"{server.url}/?kind=decision&outcome=deny")
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator("#counted")).to_have_text("10 messages")
    page.get_by_label("Search").fill("terminal error")
    expect(page.locator("#counted")).to_have_text("1 of 10 messages")
    expect(page).to_have_url(f"{server.url}/?q=terminal+error")

    shared = opened("/?kind=task&agent=summarizer")
    expect(shared.locator("#counted")).to_have_text("2 of 10 messages")
    expect(shared.get_by_label("Tasks")).to_be_checked()
    shared.locator("#rows a").first.click()
    expect(shared.get_by_role("heading", level=1)).to_contain_text("Task")
    shared.go_back()
    expect(shared.locator("#counted")).to_have_text("2 of 10 messages")
    expect(shared).to_have_url(f"{server.url}/?kind=task&agent=summarizer")


def test_what_matches_nothing_can_be_looked_up_in_the_ledger(opened: Opener, server: PageServer) -> None:
    opened.refusals_expected = True
    scenes.task(server, scenes.TASK, time.time())
    page = opened("/?q=no-such-id")
    page.get_by_role("link", name="Look up “no-such-id” in the ledger").click()
    expect(page.get_by_text("Nobody knows this id")).to_be_visible()


def test_a_paused_list_stands_still_and_counts_what_waits(opened: Opener, server: PageServer) -> None:
    scenes.task(server, "task_before", time.time())
    page = opened()
    shows(page, "light")
    page.get_by_role("button", name="Pause").click()
    for number in range(4):
        scenes.task(server, f"task_{number}", time.time())
    expect(page.locator("#waiting")).to_have_text("12 new · show")
    assert len(rows(page)) == 3
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#waiting")).to_be_hidden()
    expect(page.locator("#rows .row")).to_have_count(15)


def test_ten_thousand_messages_stay_quick_and_few_elements(opened: Opener, server: PageServer) -> None:
    page = opened(script=FRAMES)
    expect(page.locator("#state-text")).to_have_text("Live")
    start = time.time() - 100
    for burst in range(20):
        blocks = []
        for number in range(burst * 500, burst * 500 + 500):
            payload = {
                "type": "mesh.task.succeeded",
                "subject": f"task_{number}",
                "data": {"agent": "light", "costCents": 1},
            }
            message = {
                "id": f"{number:016d}",
                "ts": start + number / 100,
                "topic": "mesh.task.succeeded",
                "payload": payload,
            }
            blocks.append(f"id: {number}\ndata: {json.dumps(message)}\n\n")
        server.send_raw("".join(blocks))
    expect(page.locator("#counted")).to_have_text("10,000 messages", timeout=20_000)
    expect(page.locator("#grid")).to_have_attribute("aria-rowcount", "10001")
    assert page.locator("#rows .row").count() < 60
    page.locator("#grid").evaluate("(grid) => { grid.scrollTop = grid.scrollHeight; }")
    expect(page.locator("#rows a[href='/tx/task_0']")).to_be_visible()
    assert page.locator("#rows .row").count() < 60
    page.locator("#grid").focus()
    page.keyboard.press("Home")
    page.keyboard.press("PageDown")
    expect(page.locator("#rows [data-active]")).to_have_count(1)
    page.get_by_label("Search").fill("task_777")
    expect(page.locator("#counted")).to_have_text("11 of 10,000 messages")
    assert page.evaluate("performance.memory.usedJSHeapSize") < 150_000_000
    assert page.evaluate("frames_ms.filter((each) => each > 1500)") == []


def test_a_row_that_is_half_in_sight_opens_at_the_first_click(opened: Opener, server: PageServer) -> None:
    page = opened()
    for number in range(60):
        scenes.access(server, f"tx_{number}", time.time() + number / 1000, allow=True)
    expect(page.locator("#counted")).to_have_text("180 messages")
    box = page.locator("#grid").bounding_box()
    assert box is not None
    for part in (0.1, 0.3, 0.5, 0.7, 0.9):
        page.locator("#grid").evaluate(
            "(grid, part) => (grid.scrollTop = grid.querySelector('.row').offsetHeight * (20 + part))", part
        )
        page.wait_for_timeout(100)  # until the rows there are drawn
        page.mouse.move(box["x"] + 450, box["y"] + box["height"] - 3)
        page.mouse.down()
        page.wait_for_timeout(50)
        page.mouse.up()
        expect(page).to_have_url(re.compile("/tx/tx_"))
        page.go_back()


def test_a_lost_connection_is_shown_and_what_came_meanwhile_is_fetched(opened: Opener, server: PageServer) -> None:
    opened.refusals_expected = True
    scenes.task(server, "task_before", time.time())
    page = opened()
    shows(page, "light")
    server.stop()
    expect(page.locator("#state-text")).to_contain_text("Connection lost at")
    expect(page.locator("#state-more")).to_contain_text(re.compile("next attempt in|trying"))
    scenes.task(server, "task_meanwhile", time.time())
    server.start()
    expect(page.locator("#state-text")).to_have_text("Live")
    expect(page.locator("#rows a[href='/tx/task_meanwhile']")).to_have_count(3)
    expect(page.locator("#rows a[href='/tx/task_before']")).to_have_count(3)
    shows(page, "The connection was lost at")
    assert server.last_event_ids == ["", "3"]


def test_a_gap_is_told_and_never_passed_over(opened: Opener, server: PageServer) -> None:
    page = opened()
    expect(page.locator("#state-text")).to_have_text("Live")
    server.send_raw('event: gap\ndata: {"topic":"mesh.task.succeeded","reason":"too_old"}\n\n')
    shows(page, "Messages of mesh.task.succeeded may be missing here: more was published than the relay keeps")
    expect(page.locator("#state-more")).to_contain_text("may be missing")


def test_a_server_that_refuses_is_asked_again_later(opened: Opener, server: PageServer) -> None:
    opened.refusals_expected = True
    server.stream_status = 503
    page = opened()
    expect(page.locator("#state-more")).to_contain_text("The relay is being replaced.")
    server.stream_status = 200
    expect(page.locator("#state-text")).to_have_text("Live")


def test_a_connection_that_fell_silent_is_given_up(opened: Opener, server: PageServer) -> None:
    page = opened("about:blank")
    page.clock.install()
    page.goto(server.url)
    expect(page.locator("#state-text")).to_have_text("Live")
    for _ in range(3):
        page.clock.run_for(20_000)
        server.send_raw(": still there\n\n")
        expect(page.locator("#state-text")).to_have_text("Live")
    assert len(server.last_event_ids) == 1
    page.clock.run_for(50_000)
    shows(page, "The connection was lost at")
    assert len(server.last_event_ids) == 2


def test_a_position_that_the_server_does_not_know_is_a_gap_and_no_end(opened: Opener, server: PageServer) -> None:
    opened.refusals_expected = True
    scenes.task(server, "task_1", time.time())
    page = opened()
    shows(page, "light")
    server.stream_status = 422
    server.cut_streams()
    shows(page, "Messages may be missing here: the relay does not know where this page was")
    server.stream_status = 200
    expect(page.locator("#state-text")).to_have_text("Live")


def test_the_end_of_a_session_leaves_what_was_seen_and_asks_to_sign_in(opened: Opener, server: PageServer) -> None:
    opened.refusals_expected = True
    scenes.task(server, "task_1", time.time())
    page = opened("/?kind=task")
    shows(page, "light")
    server.signed_in = False
    server.send_raw('event: end\ndata: {"reason":"session_ended"}\n\n')
    server.cut_streams()
    expect(page.locator("#state-text")).to_have_text("Signed out")
    shows(page, "light")
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{server.url}/auth/login?next=%2F%3Fkind%3Dtask")


def test_nobody_sees_anything_without_a_session_or_a_right(opened: Opener, server: PageServer) -> None:
    opened.refusals_expected = True
    server.signed_in = False
    page = opened(f"/tx/{scenes.TASK}")
    expect(page.get_by_role("heading", name="Sign in to watch the mesh")).to_be_visible()
    assert page.get_by_role("link", name="Sign in").get_attribute("href") == f"/auth/login?next=%2Ftx%2F{scenes.TASK}"
    server.signed_in, server.allowed = True, False
    page.reload()
    expect(page.get_by_text("stranger@example.com")).to_be_visible()


def test_what_a_message_says_is_never_markup(opened: Opener, server: PageServer) -> None:
    server.event(
        "mesh.access.decided", "<i>tx</i>", {"decision": HOSTILE, "reasons": [HOSTILE], "explanation": HOSTILE}
    )
    server.event("mesh.task.succeeded", "task_x", {"agent": HOSTILE, "caller": HOSTILE, "costCents": 1})
    server.publish("access.intent", {"tx_id": HOSTILE, "subject": {"id": HOSTILE}, "resource": {"id": HOSTILE}})
    page = opened()
    shows(page, "<img src=x")
    assert page.locator("main img").count() == page.locator("main b").count() == 0
    page.locator("#rows .row", has_text="decision").locator("a").click()
    expect(page.locator("#story")).to_contain_text("<img src=x")
    assert page.locator("#story img").count() == 0
    assert page.title() != "broken"


def test_the_page_can_be_walked_with_the_keyboard_alone(opened: Opener, server: PageServer) -> None:
    scenes.access(server, scenes.DENIED, time.time() - 3, allow=False)
    scenes.task(server, scenes.TASK, time.time())
    page = opened()
    shows(page, "light")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("risk")
    expect(page.locator("#counted")).to_have_text("1 of 6 messages")
    page.keyboard.press("Escape")
    expect(page.locator("#counted")).to_have_text("6 messages")
    page.keyboard.press("Escape")
    expect(page.get_by_role("grid")).to_be_focused()
    for key in ("ArrowDown", "End", "Home", "ArrowDown", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    active = page.get_by_role("grid").get_attribute("aria-activedescendant")
    expect(page.locator(f"#{active}")).to_contain_text("session risk too high")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{server.url}/tx/{scenes.DENIED}")
    expect(page.locator("#story-title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page).to_have_url(f"{server.url}/")
    expect(page.get_by_role("grid")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).not_to_be_focused()


def test_a_message_without_a_story_is_shown_as_it_came(opened: Opener, server: PageServer) -> None:
    scenes.checkpoint(server, time.time(), 3)
    page = opened()
    page.locator("#rows a").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text('"origin": "ledger.example/mesh"')
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


def test_colours_are_as_the_system_has_them_until_somebody_chooses(opened: Opener) -> None:
    page = opened(scheme="dark", reduced=True)
    paper = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.get_by_role("button", name="Colours").click()
    light = page.evaluate(paper)
    assert light != dark
    page.reload()
    assert page.evaluate(paper) == light
    assert page.evaluate("() => getComputedStyle(document.querySelector('.dot')).animationName") == "none"


def test_a_screen_reader_hears_one_sentence_for_many_messages(opened: Opener, server: PageServer) -> None:
    page = opened("about:blank")
    page.clock.install()
    page.goto(server.url)
    page.clock.run_for(100)
    for number in range(30):
        scenes.access(server, f"tx-{number}", time.time(), allow=number % 3 == 0)
    expect(page.locator("#announce")).to_be_empty()
    page.clock.run_for(20_000)
    expect(page.locator("#announce")).to_have_text(re.compile(r"^\d+ new messages?(, \d+ deny)?$"))


def test_nothing_is_cut_off_at_the_side_of_a_phone(opened: Opener, server: PageServer) -> None:
    scenes.failed_task(server, scenes.FAILED_TASK, time.time() - 5)
    scenes.access(server, scenes.DENIED, time.time(), allow=False)
    page = opened(size=PHONE)
    shows(page, "session risk")
    page.get_by_text("Rates and costs").click()
    wide = "() => document.documentElement.scrollWidth"
    assert page.evaluate(wide) == 360
    page.locator("#rows a").first.click()
    expect(page.locator(".proof").first).to_contain_text("Proved")
    page.get_by_role("button", name="Show rule by rule").click()
    expect(page.get_by_text("session_risk < risk_limit")).to_be_visible()
    page.evaluate("() => document.querySelectorAll('#story details').forEach((each) => { each.open = true; })")
    assert page.evaluate(wide) == 360
