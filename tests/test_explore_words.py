"""Pages: the words in both languages, and the scripts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from explored import Scripts

import tinygrad_softmax as tg
from tinygrad_softmax.explaining.collecting import HOOKS
from tinygrad_softmax.explaining.formulas import CHECKPOINT, FORMULAS, TERMS
from tinygrad_softmax.explaining.page_data import page_data
from tinygrad_softmax.explaining.page_writing import PAGE, remarks_of, script_of
from tinygrad_softmax.explaining.programs import explain_lecture

SCRIPTS = sorted(PAGE.glob("*.js"))
WORDS = json.loads((PAGE / "words.json").read_text("utf-8"))


@pytest.fixture
def page(tmp_path) -> Path:
    return tmp_path / "graph.html"


# -- words -----------------------------------------------------------------------------


def test_both_languages_have_the_same_keys():
    assert list(WORDS["en"]) == list(WORDS["zh"])


@pytest.mark.parametrize("key", WORDS["en"])
def test_both_languages_fill_in_the_same(key):
    found = [set(re.findall(r"\{(\w+)\}", WORDS[each][key])) for each in ("en", "zh")]
    assert found[0] == found[1]
    if key not in ("otherLanguage", "phase"):
        assert re.search("[\u4e00-\u9fff]", WORDS["zh"][key])
    assert WORDS["en"][key].strip()


def test_every_key_is_used_and_known():
    text = "\n".join(path.read_text("utf-8") for path in SCRIPTS)
    text += (PAGE / "page.html").read_text("utf-8")
    used = set(re.findall(r"\bt[n]?\(\s*\"(\w+)\"", text))
    used |= set(re.findall(r"(?:data-words|data-label)=\"(\w+)\"", text))
    known = set(WORDS["en"])
    assert used <= known
    quoted = set(re.findall(r"\"(\w+)\"", text)) | {"startStep", "seedStep", "endStep"}
    assert known <= used | quoted


def test_every_remark_of_the_library_is_translated():
    remarks = json.loads((PAGE / "remarks.json").read_text("utf-8"))
    notes = {each.note for each in [*FORMULAS.values(), CHECKPOINT]} - {""}
    assert notes | {*TERMS.values(), HOOKS} <= set(remarks)
    source = (PAGE.parent / "formulas.py").read_text("utf-8")
    assert "as the op's own source says it" in source


def test_a_page_has_the_remarks_that_it_needs(page):
    html = tg.explore(explain_lecture(), page).read_text("utf-8")
    text = next(t for a, t in Scripts(html).found if a.get("id") == "remarks")
    remarks = json.loads(text)
    assert "The lecture's example" in remarks
    assert len(remarks) < 8


@pytest.mark.parametrize(
    ("title", "chinese"),
    [
        ("a tensor", "一个张量"),
        ("held-out digit 7, digit 3", "未参与训练的数字图像第 7 号\uff0c数字 3"),
        (
            "held-out digit 7, taken for 3",
            "未参与训练的数字图像第 7 号\uff0c模型认为是 3",
        ),
        ("new.csv, line 2, taken for a cat", "new.csv 第 2 行\uff0c模型认为是 a cat"),
        ("{row}.csv, line 2, kind {x}", "{row}.csv 第 2 行\uff0ckind {x}"),
        ("4 rows of scikit-learn's digits", "scikit-learn 数字图像中的 4 行"),
        ("4 rows of new.csv", "new.csv 中的 4 行"),
    ],
)
def test_the_librarys_titles_are_translated(title, chinese):
    data = page_data(explain_lecture()) | {"title": title}
    assert remarks_of(data)[title] == chinese


def test_a_title_of_the_program_stays_as_it_is():
    for title in ("loss", "loss_of_a_row", "a tensor of mine"):
        assert title not in remarks_of(page_data(explain_lecture()) | {"title": title})


# -- the scripts -----------------------------------------------------------------------


def test_modules_have_no_name_in_common():
    """They become one script."""
    names = []
    for path in SCRIPTS:
        text = path.read_text("utf-8")
        found = re.findall(
            r"^(?:export )?(?:function|class|const|let) (\w+)", text, re.MULTILINE
        )
        names += found
    assert sorted(names) == sorted(set(names))


def test_the_script_is_all_of_the_modules():
    script = script_of("main.js")
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)
    for path in SCRIPTS:
        assert script.count(f"// ---- {path.name}\n") == 1
    for path in SCRIPTS:
        here = script.index(f"// ---- {path.name}")
        for other in re.findall(r'from "\./(\w+\.js)"', path.read_text("utf-8")):
            between = script.index(f"// ---- {other}") < here
            assert between or path.name in script  # (cycles are of functions only)


def test_modules_import_what_they_use():
    """Each is a module that could be loaded by itself."""
    exported = {}
    for path in SCRIPTS:
        text = path.read_text("utf-8")
        pattern = r"^export (?:function|class|const) (\w+)"
        exported |= dict.fromkeys(re.findall(pattern, text, re.MULTILINE), path.name)
    for path in SCRIPTS:
        text = path.read_text("utf-8")
        imports = {
            name.strip(): origin
            for names, origin in re.findall(
                r'^import \{([^}]*)\} from "\./(\S+)";', text, re.M
            )
            for name in names.split(",")
            if name.strip()
        }
        body = re.sub(r"^import [^;]*;", "", text, flags=re.MULTILINE)
        body = re.sub(r"/\*.*?\*/", "", re.sub(r"//.*", "", body), flags=re.DOTALL)
        for name, origin in imports.items():
            assert exported[name] == origin, (path.name, name)
            assert re.search(rf"\b{name}\b", body), (
                f"{path.name} imports {name} in vain"
            )


def test_what_is_asked_of_the_browser_is_old_enough():
    """ES2020, and CSS that Firefox and Safari had by 2022."""
    script = script_of("main.js")
    later = r"\.at\( replaceAll structuredClone hasOwn\b findLast \?\?= \|\|= &&= "
    later += r"^\s*#\w toSorted groupBy"
    for new in later.split(" "):
        assert not re.search(new, script), new
    style = (PAGE / "page.css").read_text("utf-8")
    for new in (
        "@layer",
        "@container",
        ":has(",
        "color-mix",
        "oklch",
        "dvh",
        "light-dark",
    ):
        assert new not in style


def test_text_is_never_parsed_as_html():
    for path in SCRIPTS:
        text = path.read_text("utf-8")
        found = re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text
        )
        assert found == (["innerHTML"] if path.name == "dom.js" else []), path.name
