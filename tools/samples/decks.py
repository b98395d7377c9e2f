"""The sample decks: which cards, who, where, and the one difficulty that each file is made for."""
import csv
import pathlib
import random

SECTIONS = (("legend", "传奇牌"), ("main_deck", "主牌组"), ("battlefields", "战场牌"), ("runes", "符文牌"), ("side_deck", "备牌"))
KIND_ORDER = ("Champion Unit", "Unit", "Spell", "Gear")

# Each row: file, seed, legend, chosen champion, cards that must be in the main deck, meta (player, deck, event, date,
# placement), and what the file is made for: a split box, a repeated panel, a cut, a stranger, a damaged or turned file …
DECKS = (
    dict(file="01-plain.jpg", seed=101, legend="守闸人", champion="洛苒, 渡潮者", must=("第七座磨坊之主", "潮池螃蟹"),
         meta=("Mossbank", "双闸齐开", "第三届河谷公开赛-上游赛区", "2031-04-12", 1), quality=92),
    dict(file="02-lossless.png", seed=102, legend="盐路商旅", champion="盐枝, 白路向导", must=("锚",), few=True,
         meta=("灯下客", "盐与灯", "河谷冬季赛-码头赛区", "2031-01-25", 3)),
    dict(file="03-webp.webp", seed=103, legend="芦苇王子", champion="芦笛, 苇中影", must=("芦苇荡里的歌声", "雾"),
         meta=("Reedwren.07", "苇影 reed 2", "第三届河谷公开赛-下游赛区", "2031-04-19", 5), quality=85),
    dict(file="04-split-boxes.jpg", seed=104, legend="渡口女王", champion="铎, 撞钟人", must=("灯塔看守", "潮"), split=("灯塔看守", 2, 1),
         meta=("老秤砣", "渡口夜班", "第三届河谷公开赛-上游赛区", "2031-04-12", 2)),
    dict(file="05-repeated-panel.jpg", seed=105, legend="雾灯引航者", champion="奥洛温, 雾中领航", must=("雾中摆渡人",), repeat="battlefields",
         meta=("Ottoline", "灯火入雾", "河谷冬季赛-码头赛区", "2031-01-25", 8)),
    dict(file="06-clipped-last-box.jpg", seed=106, legend="百轮磨坊主", champion="伯禾, 磨石之心", must=("大水车",), cut=129,
         meta=("百轮_Wheel", "一百个轮子", "第三届河谷公开赛-下游赛区", "2031-04-19", 4)),
    dict(file="07-unknown-card.jpg", seed=107, legend="潮钟铸师", champion="汐音, 银铃歌者", must=("鹭",), unknown="琥珀蜻蜓",
         meta=("锈铃", "钟声之后", "磨坊镇店赛", "2031-02-08", 1)),
    dict(file="08-damaged.jpg", seed=101, legend="守闸人", champion="洛苒, 断桥之誓", must=(), damaged=True,
         meta=("Halfpage", "断页", "磨坊镇店赛", "2031-02-08", 6)),
    dict(file="09-rotated-exif.jpg", seed=109, legend="守闸人", champion="阿堤, 堤坝之子", must=("九孔石桥守夜人",), orientation=6,
         meta=("侧身看河", "横着拍的", "磨坊镇店赛", "2031-02-15", 2)),
    dict(file="10-half-size.jpg", seed=110, legend="盐路商旅", champion="蒂朵, 小小灯匠", must=("夜市说书人", "沉锚"), scale=0.5, quality=88,
         meta=("Pennywick", "小灯匠日记", "第三届河谷公开赛-上游赛区", "2031-04-12", 7)),
    dict(file="11-low-quality.jpg", seed=111, legend="芦苇王子", champion="芦笛, 苇中歌", must=("苇莺合唱团", "青铜水钟"), quality=30,
         meta=("糊图大师", "看得清吗", "第三届河谷公开赛-下游赛区", "2031-04-19", 3)),
    dict(file="12-no-icon.jpg", seed=112, legend="渡口女王", champion="洛苒, 听潮者", must=("提灯少年", "逆流水獭"), bare=("提灯少年",),
         meta=("Sluicegate", "无图标", "河谷冬季赛-码头赛区", "2031-01-26", 10)),
    dict(file="13-starter-legend.jpg", seed=113, legend="守闸人", champion="伯禾, 老磨坊主", must=("磨坊学徒",), tag="入门",
         meta=("新手阿苔", "入门套牌", "磨坊镇店赛", "2031-03-01", 12)),
    dict(file="14-near-names.jpg", seed=114, legend="潮钟铸师", champion="洛苒, 听潮者",
         must=("洛苒, 渡潮者", "芦笛, 苇中影", "芦笛, 苇中歌", "银鳞鲑", "金鳞鲑", "浅滩渔夫", "浅滩渔妇", "白帆商船", "白帆渔船",
               "芦花箭", "芦花剑", "鲟", "鹭", "潮", "芦苇荡里的歌声", "抛网", "收网"),
         meta=("一字之差", "差一个字", "第三届河谷公开赛-上游赛区", "2031-04-12", 16)),
    dict(file="15-twelve-runes.jpg", seed=115, legend="百轮磨坊主", champion="柯桑, 铁锚之臂", must=("河湾守卫", "河湾守望", "上游来客", "下游来客"), runes=(12, 0),
         meta=("Brinewater（盐水）", "十二枚盐晶 v3.1", "第三届河谷公开赛-下游赛区", "2031-04-20", 11)),
)

# Decks given as text: how a line and the headers are written, and lines that are written otherwise than the catalogue has them.
TEXTS = (
    dict(file="01-count-first.txt", seed=201, legend="潮钟铸师", champion="洛苒, 渡潮者", must=("潮", "沼地蛙群"), line="{quantity}x {name}", headers="{cn}"),
    dict(file="02-count-last-crlf.txt", seed=202, legend="盐路商旅", champion="盐枝, 白路向导", must=("锚", "七盏灯"), line="{name} x{quantity}",
         headers="{cn}：", newline="\r\n", mark="\ufeff"),
    dict(file="03-english.txt", seed=203, legend="渡口女王", champion="铎, 撞钟人", must=("潮", "灯塔看守", "灯塔看客"), line="{quantity}x {name_en}", headers="{en}",
         meta=("Mossbank", "Night Ferry", "Mill Town Weekly", "2031-02-22", 3), fields=("Player", "Deck", "Event", "Date", "Placement")),
    dict(file="04-typos.txt", seed=204, legend="守闸人", champion="伯禾, 磨石之心", line="{quantity}x {name}", headers="{cn}",
         must=("九孔石桥守夜人", "第七座磨坊之主", "阿堤, 堤坝之子", "洛苒, 断桥之誓", "石匠老人", "铁闸钥匙"),
         typos={"九孔石桥守夜人": "九孔石桥守夜入", "第七座磨坊之主": "第七座磨坊主", "伯禾, 磨石之心": "伯禾 磨石之心", "阿堤, 堤坝之子": "阿堤",
                "洛苒, 断桥之誓": "洛苒，断桥之誓", "石匠老人": "Old Stonemson", "铁闸钥匙": "key of the iron gate"}),
    dict(file="05-unknown-card.txt", seed=205, legend="芦苇王子", champion="芦笛, 苇中影", must=("鹭", "雾"), line="{name} x{quantity}", headers="{cn}", unknown="琥珀蜻蜓"),
)
ENGLISH_HEADERS = {"legend": "Legend", "main_deck": "Main Deck", "battlefields": "Battlefields", "runes": "Runes", "side_deck": "Side Deck"}


def read_catalogue(path):
    """Base printings by Chinese name: of several printings the first one, as the file lists it first."""
    cards = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cards.setdefault(row["name_cn"], row)
    return cards


def shuffled(rng, items):
    return [items[at] for _, at in sorted((rng.random(), at) for at in range(len(items)))]


def fill(rng, pool, total, counts):
    """(name, quantity) from the pool's start until the quantities make `total`."""
    out = []
    for name in pool:
        if total == 0:
            break
        quantity = min(total, counts[int(rng.random() * len(counts))])
        out.append([name, quantity])
        total -= quantity
    assert total == 0, "the pool is too small for the deck"
    return out


def build(spec, cards):
    """The sections of a deck: for each its boxes (name, kind, quantity), 1 + 40 + 3 + 12 + 8 cards."""
    rng = random.Random(spec["seed"])
    domains = cards[spec["legend"]]["domain_en"].split("|")
    playable = [n for n, c in cards.items() if c["domain_en"] in domains and c["type_en"] in KIND_ORDER and n != spec["champion"]]
    pool = [n for n in shuffled(rng, playable) if n not in spec["must"]]
    counts = (3, 3, 3, 3, 2) if spec.get("few") or len(spec["must"]) < 6 else (2, 3, 2, 2)
    main = fill(rng, list(spec["must"]) + pool, 39, counts)
    if "split" in spec:
        name, first, second = spec["split"]
        main = fill(rng, [n for n in list(spec["must"]) + pool if n != name], 39 - first - second, counts) + [[name, first]]
    main.sort(key=lambda card: (KIND_ORDER.index(cards[card[0]]["type_en"]), list(cards).index(card[0])))
    main = [[spec["champion"], 1]] + main
    used = {name for name, _ in main}
    side = fill(rng, [n for n in pool if n not in used], 8, (2, 3, 1, 2))
    if spec.get("cut"):
        side[-1][1], side[0][1] = 2, side[0][1] + side[-1][1] - 2
    fields = [n for n, c in cards.items() if c["type_en"] == "Battlefield"]
    runes = [[n, q] for d, q in zip(domains, spec.get("runes", (5 + int(rng.random() * 4), 0)))
             for n, c in cards.items() if c["type_en"] == "Basic Rune" and c["domain_en"] == d and q]
    if "runes" not in spec:
        other = next(n for n, c in cards.items() if c["type_en"] == "Basic Rune" and c["domain_en"] == domains[1])
        runes.append([other, 12 - runes[0][1]])
    sections = {"legend": [[spec["legend"], 1]], "main_deck": main, "battlefields": [[n, 1] for n in shuffled(rng, fields)[:3]],
                "runes": runes, "side_deck": side}
    return {key: [dict(name=n, kind=cards[n]["type_en"], quantity=q) for n, q in boxes] for key, boxes in sections.items()}, domains


def spoil(spec, sections):
    """Put the file's difficulty into the boxes; returns what is to be reported as unmatched."""
    main = sections["main_deck"]
    if "split" in spec:
        name, _, second = spec["split"]
        main.append(dict(name=name, kind=next(b["kind"] for b in main if b["name"] == name), quantity=second))
    for box in main:
        if box["name"] in spec.get("bare", ()):
            box["icon"] = False
    if "tag" in spec:
        sections["legend"][0]["tag"] = spec["tag"]
    if "unknown" in spec:
        box = main[-2]
        box["name"], box["kind"] = spec["unknown"], "Unit"
        return [dict(section="main_deck", name_cn=box["name"], quantity=box["quantity"])]
    return []


def metadata_of(spec):
    return dict(zip(("player", "deck_name", "event", "date", "placement"), spec["meta"]))


def truth_of(spec, sections, unmatched, cards):
    truth = {"metadata": metadata_of(spec)} if "meta" in spec else {}
    strangers = {row["name_cn"] for row in unmatched}
    for key, boxes in sections.items():
        summed = {}
        for box in boxes:
            if box["name"] not in strangers:
                summed[box["name"]] = summed.get(box["name"], 0) + box["quantity"]
        truth[key] = [dict(name_cn=n, name_en=cards[n]["name_en"], card_number=cards[n]["card_number"], quantity=q) for n, q in summed.items()]
    truth["unmatched"] = unmatched
    if spec.get("damaged"):
        truth = {"error": "the file ends in the middle of the picture", "error_type": "processing"}
    return truth


def panels_of(spec, sections):
    titles = dict(SECTIONS)
    panels = [["legend", "main_deck"], ["battlefields"], ["runes"], ["side_deck"]]
    if "repeat" in spec:
        panels.insert(panels.index([spec["repeat"]]), [spec["repeat"]])
    return [[(titles[key], sections[key]) for key in panel] for panel in panels]


def load_text(spec, cards):
    """A deck given as text: (its bytes, its truth)."""
    sections, _ = build(spec, cards)
    unmatched = spoil(spec, sections)
    truth = truth_of(spec, sections, unmatched, cards)
    lines = [f"{field}: {value}" for field, value in zip(spec.get("fields", ()), spec.get("meta", ()))]
    for key, title in SECTIONS:
        lines.append(spec["headers"].format(cn=title, en=ENGLISH_HEADERS[key]))
        for box in sections[key]:
            english = cards[box["name"]]["name_en"] if box["name"] in cards else ""
            name = spec.get("typos", {}).get(box["name"], box["name"])
            lines.append(spec["line"].format(name=name, name_en=english, quantity=box["quantity"]))
        lines.append("")
    return (spec.get("mark", "") + spec.get("newline", "\n").join(lines)).encode(), truth


def load(spec, cards):
    """Everything about one sample: (what to draw, its truth)."""
    sections, domains = build(spec, cards)
    unmatched = spoil(spec, sections)
    truth = truth_of(spec, sections, unmatched, cards)
    deck = dict(metadata=metadata_of(spec), domains=domains,
                seed=spec["seed"], panels=panels_of(spec, sections), cut=spec.get("cut"))
    return deck, truth


def catalogue_path():
    return pathlib.Path(__file__).resolve().parents[2] / "examples" / "decklists" / "catalogue.csv"
