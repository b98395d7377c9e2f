#!/usr/bin/env python3
"""The scorer passes the truth itself and fails each single fault put into it. Last line: "N passed, N failed"."""
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SAMPLES = HERE.parents[1] / "examples" / "decklists"


def rows_of_truth(folder):
    rows = {}
    for path in sorted(folder.glob("*.json")):
        truth = json.loads(path.read_text(encoding="utf-8"))
        rows[path.stem] = {"filename": path.stem + ".jpg", **({"error": "cut off", "error_type": "processing"} if "error" in truth else {"decklist": truth})}
    return rows


def failed_count(folder, rows, *options):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.flush()
        done = subprocess.run([sys.executable, HERE / "score.py", *options, folder, file.name], capture_output=True, text=True)
    failed = int(done.stdout.splitlines()[-1].split()[2])
    assert (done.returncode != 0) == (failed > 0), done.stdout
    return failed


def fault(edit, *options):
    """The number of failed decks when `edit` has changed one of them."""
    rows = copy.deepcopy(rows_of_truth(SAMPLES))
    edit(rows)
    return failed_count(SAMPLES, rows.values(), *options)


def deck(rows, start):
    return next(row["decklist"] for stem, row in rows.items() if stem.startswith(start))


def read_damaged(rows):
    rows["08-damaged"] = {"filename": "08-damaged.jpg", "decklist": deck(rows, "01")}


def other_printing(rows):
    deck(rows, "05")["runes"][0]["card_number"] += "a"


def wrong_card(rows):
    stranger = deck(rows, "07")["unmatched"].pop()
    deck(rows, "07")["main_deck"].append(dict(name_cn="鹭", name_en="Heron", card_number="X", quantity=stranger["quantity"]))


CASES = (
    ("the truth passes", 0, lambda rows: None),
    ("the truth of the text decks passes", 0, None),
    ("a wrong quantity fails", 1, lambda rows: deck(rows, "04")["main_deck"][3].update(quantity=9)),
    ("a missing card fails", 1, lambda rows: deck(rows, "01")["side_deck"].pop()),
    ("an extra card fails", 1, lambda rows: deck(rows, "01")["side_deck"].append(dict(name_en="Fog", card_number="TID·076/127", quantity=1))),
    ("a card in another section fails", 1, lambda rows: deck(rows, "02")["main_deck"].append(deck(rows, "02")["side_deck"].pop())),
    ("another printing fails", 1, other_printing),
    ("an unknown card given as a known one fails", 1, wrong_card),
    ("an unknown card that is not reported fails", 1, lambda rows: deck(rows, "07")["unmatched"].clear()),
    ("a known card reported as unknown fails", 1, lambda rows: deck(rows, "01")["unmatched"].append({"name_cn": "鹭"})),
    ("a damaged file that is read fails", 1, read_damaged),
    ("a sample without outcome fails", 1, lambda rows: rows.pop("09-rotated-exif")),
    ("a box split in two is summed", 0, lambda rows: deck(rows, "01")["runes"].append({**deck(rows, "01")["runes"][0], "quantity": deck(rows, "01")["runes"][0].update(quantity=deck(rows, "01")["runes"][0]["quantity"] - 1) or 1})),
    ("wrong metadata alone does not fail", 0, lambda rows: deck(rows, "01")["metadata"].update(player="?")),
)


FALLBACK_CASES = (
    ("some cards may be missing for the fallback", 0, lambda rows: deck(rows, "01")["main_deck"].pop()),
    ("a quarter of the cards may not", 1, lambda rows: [deck(rows, "01")["main_deck"].pop() for _ in range(7)]),
    ("a wrong card fails for the fallback too", 1, wrong_card),
    ("a damaged file that is read fails for the fallback too", 1, read_damaged),
)


def main():
    failed = 0
    for name, want, edit in FALLBACK_CASES:
        got = fault(edit, "--fallback")
        if got != want:
            failed += 1
            print(f"FAIL {name}: {got} decks failed instead of {want}")
    for name, want, edit in CASES:
        got = fault(edit) if edit else failed_count(SAMPLES / "text", rows_of_truth(SAMPLES / "text").values())
        if got != want:
            failed += 1
            print(f"FAIL {name}: {got} decks failed instead of {want}")
    print(f"{len(CASES) + len(FALLBACK_CASES) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
