#!/usr/bin/env python3
"""Score what was read from the samples against their truth.

usage: score.py [--fallback] TRUTH_DIR RESULTS.jsonl [TRUTH_DIR RESULTS.jsonl]...

TRUTH_DIR has one NAME.json a sample. RESULTS.jsonl has one object a line: {"filename", "decklist"} or {"filename",
"error", "error_type"}. A deck is one test. It passes when every card is there in its section, with its English name,
its base printing and its quantity (boxes of one card are summed), when nothing else is there, and when exactly the
unknown cards are reported as unmatched. A damaged file passes when its line is an error. Metadata is counted and
printed, and decides nothing. --fallback is for results of the less accurate recogniser: a deck passes when no wrong card is
in it and at least FALLBACK_SHARE of its cards are there; what it could not read may be unmatched. The last line is "N passed, N failed"; exit status 1 when one failed.
"""
import difflib
import json
import pathlib
import sys

SECTIONS = ("legend", "main_deck", "battlefields", "runes", "side_deck")
NAME_KEYS = ("name_cn", "name", "text", "raw", "raw_name", "ocr_text", "name_en")
FALLBACK_SHARE = 0.8
LIKENESS = 0.5  # an unknown card may be misread; half of its characters must be right


def summed(deck):
    cards = {}
    for section in SECTIONS:
        for card in deck.get(section) or []:
            key = (section, card.get("name_en"), card.get("card_number"))
            cards[key] = cards.get(key, 0) + int(card.get("quantity") or 1)
    return cards


def stem_of(name):
    return pathlib.PurePath(name).name.rsplit(".", 1)[0]


def read_results(path):
    found = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                row = json.loads(line)
                if stem_of(row["filename"]) in found:
                    raise SystemExit(f"{path}, line {number}: a second outcome for {row['filename']}")
                found[stem_of(row["filename"])] = row
    return found


def stranger_fits(want, entry):
    """Whether an entry of `unmatched`, an object or a plain string, is this unknown card."""
    if isinstance(entry, str):
        entry = {"name": entry}
    texts = [str(entry[key]) for key in NAME_KEYS if entry.get(key)]
    alike = max((difflib.SequenceMatcher(None, want["name_cn"], text).ratio() for text in texts), default=0)
    return alike >= LIKENESS and all(entry.get(key, want[key]) == want[key] for key in ("section", "quantity"))


def unmatched_faults(want, got):
    left = list(got)
    faults = []
    for card in want:
        hit = next((entry for entry in left if stranger_fits(card, entry)), None)
        if hit is None:
            faults.append(f"{card['name_cn']} is not reported as unmatched")
        else:
            left.remove(hit)
    return faults + [f"unmatched has {json.dumps(entry, ensure_ascii=False)}" for entry in left]


def judge(truth, row, fallback):
    """(faults, line about the deck, metadata right, metadata there)."""
    if row is None:
        return ["no outcome"], "", 0, 0
    if "error" in truth:
        if row.get("decklist") or not row.get("error"):
            return ["a damaged file was read as if it were whole"], "", 0, 0
        kind = row.get("error_type", truth["error_type"])
        return [f"error_type {kind}"] if kind != truth["error_type"] else [], f"error: {row['error']}", 0, 0
    if not row.get("decklist"):
        return [f"error: {row.get('error')}"], "", 0, len(truth.get("metadata", ()))
    deck = row["decklist"]
    want, got = summed(truth), summed(deck)
    faults = [f"{s} {name} {number}: {got.get((s, name, number), 0)} instead of {q}" for (s, name, number), q in want.items() if got.get((s, name, number)) != q]
    extras = [f"{key[0]} {key[1]} {key[2]}: does not belong here" for key in got if key not in want]
    strangers = unmatched_faults(truth.get("unmatched", []), deck.get("unmatched") or [])
    meta, read = truth.get("metadata", {}), deck.get("metadata") or {}
    wrong = [f"{field} {read.get(field)!r} instead of {value!r}" for field, value in meta.items() if read.get(field) != value]
    line = f"cards {len(want) - len(faults)}/{len(want)}, wrong extras {len(extras)}, unmatched {len(deck.get('unmatched') or [])}"
    line += f", metadata {len(meta) - len(wrong)}/{len(meta)}" + (f" ({'; '.join(wrong)})" if wrong else "")
    if fallback:
        faults = faults if len(faults) > (1 - FALLBACK_SHARE) * len(want) else []
        strangers = []
    return faults + extras + strangers, line, len(meta) - len(wrong), len(meta)


def score(folder, results, fallback):
    """Print a line a deck: (decks, failed decks, metadata right, metadata there)."""
    truths = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(pathlib.Path(folder).glob("*.json"))}
    if not truths:
        raise SystemExit(f"{folder} has no truth: no file ends in .json")
    found = read_results(results)
    failed = meta_right = meta_all = 0
    for stem, truth in truths.items():
        faults, line, right, there = judge(truth, found.get(stem), fallback)
        failed, meta_right, meta_all = failed + bool(faults), meta_right + right, meta_all + there
        print(f"{'FAIL' if faults else 'ok  '} {stem}: {line}")
        for fault in faults:
            print(f"       {fault}")
    return len(truths), failed, meta_right, meta_all


def main():
    fallback = "--fallback" in sys.argv[1:2]
    pairs = sys.argv[2:] if fallback else sys.argv[1:]
    if not pairs or len(pairs) % 2:
        raise SystemExit(__doc__)
    sums = [sum(column) for column in zip(*(score(*pair, fallback) for pair in zip(pairs[::2], pairs[1::2])))]
    decks, failed, meta_right, meta_all = sums
    print(f"metadata {meta_right}/{meta_all}")
    print(f"{decks - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
