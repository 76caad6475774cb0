from scripts.settings_page import PAGE, page


def test_the_page_of_settings_says_what_the_code_says():
    assert PAGE.read_text(encoding="utf-8") == page(), "make it anew: python -m scripts.settings_page"


def test_every_setting_is_explained():
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert [row for row in rows if row.endswith("|  |")] == []
