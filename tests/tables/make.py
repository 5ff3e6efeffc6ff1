"""Write the small tables of this folder and expected.json: what each of them contains.

The expected values are written here by hand, beside the content of each file, and no reader takes
part. Run ``python tests/tables/make.py`` after a change. A file of another program's format
(Excel, Parquet, SQLite, …) is written by that program's own library.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
for old in HERE.iterdir():
    if old != Path(__file__):
        old.unlink()
EXPECTED: dict[str, dict[str, Any]] = {}

NAMES = ["Anna", "Ben", "Carla", "David", "Eva", "Frank"]
WEIGHT = [61.5, 80.25, 57.0, 92.75, 64.1, 78.9]
AGE = [34, 51, 28, 45, 39, 60]
SALES = [1234.56, 987.1, 23456.78, 15.0, 1234567.89, 640.25]
COUNTS = [1234, 987, 23456, 15, 1234567, 640]
SHARE = [0.12, 0.055, 0.3, 0.07, 0.99, 0.5]
DATES = ["2024-01-31", "2024-02-05", "2024-03-17", "2023-12-01", "2024-04-22", "2024-05-06"]
EARLY = ["2024-01-03", "2024-02-05", "2024-03-07", "2023-12-01", "2024-04-02", "2024-05-06"]


def keep(name: str, content: bytes, columns: dict[str, list[Any]], **more: Any) -> None:
    """A file, the values of its columns, and what else is expected.

    `dates` and `booleans` list columns of this kind; `note` is a part of what is reported,
    `options` are arguments of the reader.
    """
    (HERE / name).write_bytes(content)
    EXPECTED[name] = {"columns": columns, **more}


def refused(name: str, content: bytes, message: str) -> None:
    """A file that cannot be read, and a part of the message."""
    (HERE / name).write_bytes(content)
    EXPECTED[name] = {"error": message}


def text(name: str, lines: str, columns: dict[str, list[Any]], *, encoding: str = "utf-8",
         end: str = "\n", **more: Any) -> None:  # fmt: skip
    keep(name, lines.replace("\n", end).encode(encoding), columns, **more)


def lines(sep: str, *columns: list[Any]) -> str:
    """Lines of text, of columns whose first entries are their names."""
    return "".join(sep.join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


def comma(numbers: list[float]) -> list[str]:
    return [str(number).replace(".", ",") for number in numbers]


def grouped(numbers: list[Any], mark: str, decimal: str, places: int = 2) -> list[str]:
    """Numbers with a mark between groups of three digits."""
    shown = [f"{number:,.{places}f}" for number in numbers]
    return [s.replace(",", "T").replace(".", decimal).replace("T", mark) for s in shown]


def quoted(words: list[str]) -> list[str]:
    return [f'"{word}"' for word in words]


PEOPLE = {"name": NAMES, "weight": WEIGHT, "age": AGE}


def people(sep: str, weights: list[Any] | None = None) -> str:
    return lines(sep, ["name", *NAMES], ["weight", *(weights or WEIGHT)], ["age", *AGE])


# ---------------------------------------------------------------- separators

text("comma.csv", people(","), PEOPLE, note="")
text("semicolon.csv", people(";"), PEOPLE, note="';'")
text("tab.tsv", people("\t"), PEOPLE, note="")
text("tab.csv", people("\t"), PEOPLE, note="tab")
text("pipe.csv", people("|"), PEOPLE, note="'|'")
text("pipe.txt", people("|"), PEOPLE)
text("single_space.txt", people(" "), PEOPLE, note="space")
text(
    "aligned_spaces.txt",
    "name   weight  age\n"
    + "".join(f"{n:<7}{w:<8}{a}\n" for n, w, a in zip(NAMES, WEIGHT, AGE, strict=True)),
    PEOPLE,
)
text("comma_and_space.csv", people(", "), PEOPLE)
text("padded_pipes.txt", people(" | "), PEOPLE)
text("semicolon_decimal_comma.csv", people(";", comma(WEIGHT)), PEOPLE, note="','")
text("tab_decimal_comma.tsv", people("\t", comma(WEIGHT)), PEOPLE, note="','")
text("pipe_decimal_comma.csv", people("|", comma(WEIGHT)), PEOPLE)
text("space_decimal_comma.txt", people(" ", comma(WEIGHT)), PEOPLE)
text("comma_quoted_decimal_comma.csv", people(",", quoted(comma(WEIGHT))), PEOPLE)
text("windows_line_ends.csv", people(";", comma(WEIGHT)), PEOPLE, end="\r\n")
text("old_mac_line_ends.csv", people(","), PEOPLE, end="\r")
text("no_final_newline.csv", people(",").rstrip("\n"), PEOPLE)
text("trailing_separator.csv", people(";").replace("\n", ";\n"), PEOPLE)
text("export.dat", people(";"), PEOPLE)
text("no_suffix", people(","), PEOPLE)
text("one_column.csv", lines(",", ["weight", *WEIGHT]), {"weight": WEIGHT})
text("one_column_of_words.csv", lines(",", ["name", *NAMES]), {"name": NAMES})
text("one_column_decimal_comma.csv", lines(";", ["weight", *comma(WEIGHT)]), {"weight": WEIGHT})
text("two_rows.csv", "a;b\n1,5;2\n2,5;3\n", {"a": [1.5, 2.5], "b": [2, 3]})
text("one_row.csv", "a;b;c\n1,5;x;3\n", {"a": [1.5], "b": ["x"], "c": [3]})
text(
    "commas_in_a_semicolon_file.csv",
    lines(";", ["who", *(f"{n}, Dr." for n in NAMES)], ["weight", *WEIGHT]),
    {"who": [f"{n}, Dr." for n in NAMES], "weight": WEIGHT},
)
text(
    "semicolons_in_a_comma_file.csv",
    lines(",", ["tags", *(f"{n};x;y" for n in NAMES)], ["weight", *WEIGHT]),
    {"tags": [f"{n};x;y" for n in NAMES], "weight": WEIGHT},
)
text(
    "spaces_in_names.tsv",
    lines("\t", ["first name", *(f"{n} Maria" for n in NAMES)], ["body weight", *WEIGHT]),
    {"first name": [f"{n} Maria" for n in NAMES], "body weight": WEIGHT},
)
text(
    "decimal_commas_only.csv",
    lines(";", ["a", *comma(WEIGHT)], ["b", *comma(SHARE)], ["c", *comma(SALES)]),
    {"a": WEIGHT, "b": SHARE, "c": SALES},
)
text(
    "urls.csv",
    lines(",", ["page", *(f"https://x.org/{n}?a=1|2" for n in NAMES)], ["hits", *AGE]),
    {"page": [f"https://x.org/{n}?a=1|2" for n in NAMES], "hits": AGE},
)
text(
    "times_of_day.csv",
    lines(",", ["at", *(f"1{i}:30:00" for i in range(6))], ["age", *AGE]),
    {"at": [f"1{i}:30:00" for i in range(6)], "age": AGE},
)

# ---------------------------------------------------------------- thousands, currency, percent

SOLD = {"name": NAMES, "sales": SALES, "age": AGE}


def sold(sep: str, sales: list[Any]) -> str:
    return lines(sep, ["name", *NAMES], ["sales", *sales], ["age", *AGE])


def counted(sep: str, counts: list[Any]) -> str:
    return lines(sep, ["name", *NAMES], ["count", *counts], ["age", *AGE])


COUNTED = {"name": NAMES, "count": COUNTS, "age": AGE}

text("thousands_comma_quoted.csv", sold(",", quoted(grouped(SALES, ",", "."))), SOLD, note="','")
text("thousands_comma.tsv", sold("\t", grouped(SALES, ",", ".")), SOLD)
text("thousands_comma_semicolon.csv", sold(";", grouped(SALES, ",", ".")), SOLD)
text("thousands_dot.csv", sold(";", grouped(SALES, ".", ",")), SOLD, note="'.'")
text("thousands_dot_quoted.csv", sold(",", quoted(grouped(SALES, ".", ","))), SOLD)
text("thousands_space.csv", sold(";", grouped(SALES, " ", ",")), SOLD)
text("thousands_space_dot.csv", sold(",", grouped(SALES, " ", ".")), SOLD)
text("thousands_nbsp.csv", sold(";", grouped(SALES, "\u00a0", ",")), SOLD)
text("thousands_narrow_nbsp.csv", sold(";", grouped(SALES, "\u202f", ",")), SOLD)
text(
    "thousands_nbsp_latin1.csv", sold(";", grouped(SALES, "\u00a0", ",")), SOLD, encoding="latin-1"
)
text("thousands_apostrophe.csv", sold(";", grouped(SALES, "'", ".")), SOLD)
text("thousands_curly_apostrophe.csv", sold(";", grouped(SALES, "’", ".")), SOLD)
text("integers_with_commas.tsv", counted("\t", grouped(COUNTS, ",", ".", 0)), COUNTED)
text("integers_with_commas_quoted.csv", counted(",", quoted(grouped(COUNTS, ",", ".", 0))), COUNTED)
text("integers_with_dots.csv", counted(";", grouped(COUNTS, ".", ",", 0)), COUNTED)
text("integers_with_spaces.csv", counted(",", grouped(COUNTS, " ", ".", 0)), COUNTED)
text(
    "dots_explained_by_another_column.csv",
    lines(";", ["count", "1.234", "2.500", "12.000"], ["weight", "0,5", "1,25", "2,75"]),
    {"count": [1234, 2500, 12000], "weight": [0.5, 1.25, 2.75]},
)
SMALL = [987, 1234, 15, 2500, 640, 12000]
for sep, mark in (("semicolon", "."), ("semicolon", ","), ("tab", "."), ("pipe", ",")):
    separator = {"semicolon": ";", "tab": "\t", "pipe": "|"}[sep]
    text(
        f"whole_numbers_{sep}_{'dot' if mark == '.' else 'comma'}.csv",
        lines(separator, ["count", *grouped(SMALL, mark, ".", 0)], ["age", *AGE]),
        {"count": SMALL, "age": AGE},
    )
text(
    "up_to_three_decimals.csv",
    lines(",", ["x", 987, 1.234, 1.5, 2.75, 3.125, 12.625], ["y", *AGE]),
    {"x": [987, 1.234, 1.5, 2.75, 3.125, 12.625], "y": AGE},
)
text(
    "three_decimals.csv",
    lines(",", ["x", "1.234", "2.500", "12.125"], ["y", "1", "2", "3"]),
    {"x": [1.234, 2.5, 12.125], "y": [1, 2, 3]},
)
text(
    "could_be_thousands.csv",
    lines(";", ["x", "1.234", "2.500", "12.125"], ["y", "1", "2", "3"]),
    {"x": [1.234, 2.5, 12.125], "y": [1, 2, 3]},
    note="--thousands '.'",
)
text(
    "three_decimals_comma.csv",
    lines(";", ["x", "1,234", "2,500", "0,125"], ["y", "1", "2", "3"]),
    {"x": [1.234, 2.5, 0.125], "y": [1, 2, 3]},
)
text(
    "indian_groups.tsv",
    lines("\t", ["x", "12,34,567.50", "1,00,000.00", "999.00"], ["y", "1", "2", "3"]),
    {"x": [1234567.5, 100000, 999], "y": [1, 2, 3]},
)
text("dollars.csv", counted(",", quoted([f"${w}" for w in grouped(COUNTS, ",", ".", 0)])), COUNTED)
text("dollars_and_cents.tsv", sold("\t", [f"$ {w}" for w in grouped(SALES, ",", ".")]), SOLD)
text(
    "negative_dollars.csv",
    lines(",", ["x", "-$5.50", "$12.25", "$-3.00", "($4.00)"], ["y", 1, 2, 3, 4]),
    {"x": [-5.5, 12.25, -3, -4], "y": [1, 2, 3, 4]},
)
text("euros_behind.csv", sold(";", [f"{w} €" for w in grouped(SALES, ".", ",")]), SOLD, note="€")
text("euros_before.csv", sold(";", [f"€ {w}" for w in grouped(SALES, ".", ",")]), SOLD)
text("euros_cp1252.csv", sold(";", [f"{w} €" for w in grouped(SALES, ".", ",")]), SOLD,
     encoding="cp1252")  # fmt: skip
text("pounds.csv", lines(",", ["x", "£1.50", "£20.00"], ["y", 1, 2]), {"x": [1.5, 20], "y": [1, 2]})
text("currency_code.csv", sold(";", [f"USD {w}" for w in grouped(SALES, ",", ".")]), SOLD)
text("currency_code_behind.csv", sold(";", [f"{w} EUR" for w in grouped(SALES, ".", ",")]), SOLD)
text(
    "two_currencies.csv",
    lines(",", ["x", "$1.50", "€20.00", "$3.00", "€1.00"], ["y", 1, 2, 3, 4]),
    {"x": ["$1.50", "€20.00", "$3.00", "€1.00"], "y": [1, 2, 3, 4]},
    note="'x'",
)
SHARES = {"name": NAMES, "share": SHARE}
text("percent.csv", lines(",", ["name", *NAMES], ["share", *(f"{100 * s:g}%" for s in SHARE)]),
     SHARES, note="%")  # fmt: skip
text("percent_space.csv",
     lines(";", ["name", *NAMES], ["share", *(f"{100 * s:g} %".replace(".", ",") for s in SHARE)]),
     SHARES)  # fmt: skip
text(
    "accounting_negatives.csv",
    lines(",", ["x", '"(1,234)"', '"2,500"', "(12)"], ["y", 1, 2, 3]),
    {"x": [-1234, 2500, -12], "y": [1, 2, 3]},
)
text(
    "minus_behind.csv",
    lines(";", ["x", "1.234,56-", "12,50", "3,00-"], ["y", 1, 2, 3]),
    {"x": [-1234.56, 12.5, -3], "y": [1, 2, 3]},
)
text(
    "true_minus.csv",
    lines(";", ["x", "−1,5", "2,5", "−0,25"], ["y", 1, 2, 3]),
    {"x": [-1.5, 2.5, -0.25], "y": [1, 2, 3]},
)
text(
    "scientific_comma.csv",
    lines(";", ["x", "1,5E+03", "2,25E-02", "7,0E+00"], ["y", 1, 2, 3]),
    {"x": [1500, 0.0225, 7], "y": [1, 2, 3]},
)
text(
    "scientific.csv",
    lines(",", ["x", "1.5E+03", "2e-2", "7"], ["y", 1, 2, 3]),
    {"x": [1500, 0.02, 7], "y": [1, 2, 3]},
)
text(
    "signs_and_bare_fractions.csv",
    lines(",", ["x", "+5", ".5", "-.25"], ["y", 1, 2, 3]),
    {"x": [5, 0.5, -0.25], "y": [1, 2, 3]},
)
text(
    "versions_stay_text.csv",
    lines(";", ["version", "1.2.3", "1.10.0", "2.0.1"], ["ip", "10.0.0.1", "10.0.0.2", "10.1.1.3"]),
    {"version": ["1.2.3", "1.10.0", "2.0.1"], "ip": ["10.0.0.1", "10.0.0.2", "10.1.1.3"]},
)
text(
    "telephone_numbers_stay_text.csv",
    lines(",", ["phone", "030-123456", "+49 30 1234", "0171/555"], ["y", 1, 2, 3]),
    {"phone": ["030-123456", "+49 30 1234", "0171/555"], "y": [1, 2, 3]},
)
text(
    "ranges_stay_text.csv",
    lines(",", ["age group", "18-25", "26-35", "36-50"], ["y", 1, 2, 3]),
    {"age group": ["18-25", "26-35", "36-50"], "y": [1, 2, 3]},
)
text(
    "codes_stay_text.csv",
    lines(",", ["code", "A1", "A2", "B10"], ["y", 1, 2, 3]),
    {"code": ["A1", "A2", "B10"], "y": [1, 2, 3]},
)
text(
    "some_cells_do_not_parse.csv",
    lines(",", ["x", *range(20), "about 7", "12?"], ["y", *range(22)]),
    {"x": [*map(str, range(20)), "about 7", "12?"], "y": list(range(22))},
    note="about 7",
)
text(
    "some_cells_do_not_parse_comma.csv",
    lines(";", ["x", *comma([i + 0.5 for i in range(20)]), "ca. 7"], ["y", *range(21)]),
    {"x": [*(f"{i}.5" for i in range(20)), "ca. 7"], "y": list(range(21))},
    note="ca. 7",
)

# ---------------------------------------------------------------- encodings

CITIES = {"city": ["Köln", "Zürich", "Málaga", "Orléans"], "size": [1.5, 2.5, 3.5, 4.5]}


def cities(sep: str, decimal: str = ".") -> str:
    sizes = [str(size).replace(".", decimal) for size in CITIES["size"]]
    return lines(sep, ["city", *CITIES["city"]], ["size", *sizes])


text("utf8.csv", cities(","), CITIES)
text("utf8_bom.csv", cities(","), CITIES, encoding="utf-8-sig")
text("utf8_bom_quoted.csv", lines(",", ['"name"', *NAMES], ['"age"', *AGE]),
     {"name": NAMES, "age": AGE}, encoding="utf-8-sig")  # fmt: skip
text("utf16.csv", cities(","), CITIES, encoding="utf-16", note="UTF-16")
text("utf16_tab.txt", cities("\t", ","), CITIES, encoding="utf-16", end="\r\n")
keep("utf16_big_endian.csv", b"\xfe\xff" + cities(",").encode("utf-16-be"), CITIES)
text("utf16_no_bom.csv", cities(","), CITIES, encoding="utf-16-le")
text("utf32.csv", cities(","), CITIES, encoding="utf-32")
text("latin1.csv", cities(","), CITIES, encoding="latin-1", note="latin-1")
text("latin1_german.csv", cities(";", ","), CITIES, encoding="latin-1", end="\r\n", note="latin-1")
text(
    "cp1252.csv",
    lines(";", ["item", "“Best” – 5 €", "Café œuvre", "Müller’s"], ["n", 1, 2, 3]),
    {"item": ["“Best” – 5 €", "Café œuvre", "Müller’s"], "n": [1, 2, 3]},
    encoding="cp1252",
    note="cp1252",
)
text(
    "latin1_units.csv",
    lines(",", ["T in °C", 20.5, 21.5], ["area in m²", 3, 4], ["d in µm", 5, 6]),
    {"T in °C": [20.5, 21.5], "area in m²": [3, 4], "d in µm": [5, 6]},
    encoding="latin-1",
)
text("mac_roman.csv", cities(","), CITIES, encoding="mac-roman")
text("cp850.csv", cities(";"), CITIES, encoding="cp850")
RUSSIAN = {"город": ["Москва", "Казань", "Омск", "Тверь"], "x": [1, 2, 3, 4]}
text("cyrillic_cp1251.csv", lines(";", ["город", *RUSSIAN["город"]], ["x", 1, 2, 3, 4]), RUSSIAN,
     encoding="cp1251")  # fmt: skip
text("cyrillic_utf8.csv", lines(";", ["город", *RUSSIAN["город"]], ["x", 1, 2, 3, 4]), RUSSIAN)
POLISH = {"miasto": ["Łódź", "Kraków", "Gdańsk", "Częstochowa"], "x": [1, 2, 3, 4]}
text("polish_cp1250.csv", lines(";", ["miasto", *POLISH["miasto"]], ["x", 1, 2, 3, 4]), POLISH,
     encoding="cp1250")  # fmt: skip
CHINESE = {"城市": ["北京", "上海", "广州"], "人口": [21.9, 24.9, 18.7]}
text(
    "chinese_utf8.csv", lines(",", ["城市", *CHINESE["城市"]], ["人口", 21.9, 24.9, 18.7]), CHINESE
)
text("chinese_gb18030.csv", lines(",", ["城市", *CHINESE["城市"]], ["人口", 21.9, 24.9, 18.7]),
     CHINESE, encoding="gb18030", options={"encoding": "gb18030"})  # fmt: skip

EUROS = {"preis": ["5 Stück", "7 Stück"], "x": [5, 7]}
text("euros_latin9.csv", "preis;x\n5 Stück;5 €\n7 Stück;7 €\n", EUROS, encoding="iso8859-15")
GREEK = {"πόλη": ["Αθήνα", "Πάτρα", "Θεσσαλονίκη"], "x": [3, 2, 1]}
text("greek_cp1253.csv", lines(",", ["πόλη", *GREEK["πόλη"]], ["x", 3, 2, 1]), GREEK,
     encoding="cp1253")  # fmt: skip
refused("chinese_unnamed.csv", "城市,人口\n北京,21.9\n上海,24.9\n广州,18.7\n".encode("gb18030"),
        "--encoding")  # fmt: skip
refused("japanese_unnamed.csv", "名前,年齢\nさくら,12\nタロウ,14\n".encode("cp932"), "--encoding")
CZECH = {"jméno": ["Jiří", "Tomáš", "Matěj"], "x": [1, 2, 3]}
text("czech_cp1250.csv", lines(";", ["jméno", *CZECH["jméno"]], ["x", 1, 2, 3]), CZECH,
     encoding="cp1250", fails="Its letters are those of other words in cp1252.")  # fmt: skip

# ---------------------------------------------------------------- quotation marks and lines

text("quoted_commas.csv", lines(",", ["who", *(f'"{n}, Dr."' for n in NAMES)], ["age", *AGE]),
     {"who": [f"{n}, Dr." for n in NAMES], "age": AGE})  # fmt: skip
text("quoted_newlines.csv", lines(",", ["note", '"a\nb"', '"c, d\n\ne"', "f"], ["y", 1, 2, 3]),
     {"note": ["a\nb", "c, d\n\ne", "f"], "y": [1, 2, 3]})  # fmt: skip
text("doubled_quotes.csv", lines(",", ["size", '"5"" pipe"', '"7"" pipe"'], ["y", 1, 2]),
     {"size": ['5" pipe', '7" pipe'], "y": [1, 2]})  # fmt: skip
text("escaped_quotes.csv", lines(",", ["size", r'"5\" pipe, x"', r'"7\" pipe, y"'], ["y", 1, 2]),
     {"size": ['5" pipe, x', '7" pipe, y'], "y": [1, 2]})  # fmt: skip
text("single_quotes.csv", lines(",", ["who", *(f"'{n}, Dr.'" for n in NAMES)], ["age", *AGE]),
     {"who": [f"{n}, Dr." for n in NAMES], "age": AGE})  # fmt: skip
text("apostrophes.csv", lines(",", ["who", "O'Brien", "D'Arcy", "Ann"], ["age", 1, 2, 3]),
     {"who": ["O'Brien", "D'Arcy", "Ann"], "age": [1, 2, 3]})  # fmt: skip
text("inches.tsv", lines("\t", ["size", '5" pipe', '7" pipe', "rod"], ["y", 1, 2, 3]),
     {"size": ['5" pipe', '7" pipe', "rod"], "y": [1, 2, 3]})  # fmt: skip
text("all_quoted.csv", lines(";", *(quoted(map(str, c)) for c in
     (["name", *NAMES], ["weight", *comma(WEIGHT)], ["age", *AGE]))), PEOPLE)  # fmt: skip
text("excel_hint.csv", "sep=;\n" + people(";", comma(WEIGHT)), PEOPLE)
text("comments.csv", "# exported by lab 7\n# 2024-01-31\n" + people(","), PEOPLE, note="2 lines")
text("title.csv", "Sales report 2024\n\n" + people(";", comma(WEIGHT)), PEOPLE, note="line")
text("title_with_separators.csv", "Report;;\n;;\n" + people(";"), PEOPLE, note="line")
text("blank_lines.csv", people(",").replace("Carla", "\nCarla") + "\n\n", PEOPLE)
text("empty_columns.csv", people(",").replace("\n", ",,\n"), PEOPLE)
text("empty_rows.csv", people(";") + ";;\n;;\n", PEOPLE)
text("padded_cells.csv", people(" ; "), PEOPLE)
text(
    "no_header.csv",
    "5.1,3.5,setosa\n4.9,3.0,setosa\n6.2,2.9,virginica\n",
    {"column_1": [5.1, 4.9, 6.2], "column_2": [3.5, 3.0, 2.9],
     "column_3": ["setosa", "setosa", "virginica"]},
    note="column_1",
)  # fmt: skip
text(
    "wavelengths_as_names.csv",
    "sample,400.5,401,401.5,402,402.5\nA1,0.1,0.2,0.3,0.4,0.5\nA2,0.2,0.3,0.4,0.5,0.6\n",
    {"sample": ["A1", "A2"], "400.5": [0.1, 0.2], "401": [0.2, 0.3], "401.5": [0.3, 0.4],
     "402": [0.4, 0.5], "402.5": [0.5, 0.6]},
)  # fmt: skip
text(
    "quantiles_as_names.csv",
    "n,0.25,0.75\n10,1.5,2.5\n20,3.5,4.5\n",
    {"n": [10, 20], "0.25": [1.5, 3.5], "0.75": [2.5, 4.5]},
)
text(
    "years_as_names.csv",
    "country,2019,2020\nFrance,1.5,2.5\nSpain,3.5,4.5\n",
    {"country": ["France", "Spain"], "2019": [1.5, 3.5], "2020": [2.5, 4.5]},
)
text(
    "row_names.csv",
    '"","x","y"\n"1",1.5,2\n"2",2.5,3\n',
    {"Unnamed: 0": [1, 2], "x": [1.5, 2.5], "y": [2, 3]},
)

# ---------------------------------------------------------------- dates


def dated(name: str, sep: str, words: list[str], dates: list[str] = DATES, **more: Any) -> None:
    text(name, lines(sep, ["day", *words], ["age", *AGE]), {"day": dates, "age": AGE},
         dates=["day"], **more)  # fmt: skip


def spelled(dates: list[str], pattern: str) -> list[str]:
    from datetime import date

    return [date.fromisoformat(day).strftime(pattern) for day in dates]


dated("date_iso.csv", ",", DATES)
dated("date_dots.csv", ";", spelled(DATES, "%d.%m.%Y"))
dated("date_dots_early.csv", ";", spelled(EARLY, "%d.%m.%Y"), EARLY)
dated("date_dots_short_year.csv", ";", spelled(DATES, "%d.%m.%y"))
dated("date_day_first.csv", ",", spelled(DATES, "%d/%m/%Y"))
dated("date_month_first.csv", ",", spelled(DATES, "%m/%d/%Y"))
dated("date_ambiguous.csv", ",", spelled(EARLY, "%m/%d/%Y"), EARLY, note="'day'")
dated("date_format_given.csv", ",", spelled(EARLY, "%d/%m/%Y"), EARLY,
      options={"date_format": "%d/%m/%Y"})  # fmt: skip
dated("date_slashes_year_first.csv", ",", spelled(DATES, "%Y/%m/%d"))
dated("date_day_first_dashes.csv", ",", spelled(DATES, "%d-%m-%Y"))
dated("date_month_names.csv", ",", spelled(DATES, "%d-%b-%Y"))
dated("date_long.csv", ",", quoted(spelled(DATES, "%b %d, %Y")))
dated("date_time.csv", ",", [f"{day} 00:00:00" for day in DATES])
dated("date_time_t.csv", ",", [f"{day}T00:00:00Z" for day in DATES])
dated("date_dots_time.csv", ";", [f"{day} 00:00" for day in spelled(DATES, "%d.%m.%Y")])
text(
    "date_missing.csv",
    lines(";", ["day", *spelled(DATES[:4], "%d.%m.%Y"), "-", ""], ["age", *AGE]),
    {"day": [*DATES[:4], None, None], "age": AGE},
    dates=["day"],
)
text(
    "some_cells_are_no_dates.csv",
    lines(",", ["day", *DATES, "soon"], ["age", *AGE, 5]),
    {"day": [*DATES, "soon"], "age": [*AGE, 5]},
    note="'soon'",
)
text(
    "date_order_from_another_column.csv",
    lines(",", ["from", *spelled(EARLY, "%d/%m/%Y")], ["to", *spelled(DATES, "%d/%m/%Y")]),
    {"from": EARLY, "to": DATES},
    dates=["from", "to"],
)

# ---------------------------------------------------------------- missing values

for marker, name in {
    "NA": "na", "n/a": "n_a", "-": "dash", ".": "dot", "": "empty", "?": "question", "NULL": "null",
    "\\N": "mysql", "#N/A": "excel", "--": "dashes", "k.A.": "german", "#DIV/0!": "division",
    "NaN": "nan", "#NV": "german_excel",
}.items():  # fmt: skip
    text(
        f"missing_{name}.csv",
        lines(",", ["x", 1.5, marker, 3.5, 4.5], ["y", 1, 2, marker, 4], ["z", "a", "b", "a", "b"]),
        {"x": [1.5, None, 3.5, 4.5], "y": [1, 2, None, 4], "z": ["a", "b", "a", "b"]},
    )
text("missing_comma.csv", lines(";", ["x", "1,5", "-", "n/a", "4,5"], ["y", 1, ".", 3, 4]),
     {"x": [1.5, None, None, 4.5], "y": [1, None, 3, 4]})  # fmt: skip
text("missing_in_words.csv", lines(",", ["z", "a", "-", "b", "n/a"], ["y", 1, 2, 3, 4]),
     {"z": ["a", None, "b", None], "y": [1, 2, 3, 4]})  # fmt: skip
text("plus_and_minus.csv", lines(",", ["sign", "+", "-", "-", "+"], ["y", 1, 2, 3, 4]),
     {"sign": ["+", "-", "-", "+"], "y": [1, 2, 3, 4]})  # fmt: skip
text("missing_given.csv", lines(",", ["x", 1.5, -999, 3.5, "void"], ["y", 1, 2, 3, 4]),
     {"x": [1.5, None, 3.5, None], "y": [1, 2, 3, 4]},
     options={"na": ["-999", "void"]})  # fmt: skip

# ---------------------------------------------------------------- booleans

for number, (yes, no) in enumerate([("true", "false"), ("TRUE", "FALSE"), ("True", "False")]):
    text(f"boolean_{number}.csv", lines(",", ["b", yes, no, yes], ["y", 1, 2, 3]),
         {"b": [True, False, True], "y": [1, 2, 3]}, booleans=["b"])  # fmt: skip
PAIRS = ["yes no", "Ja Nein", "Y N", "T F", "oui non", "WAHR FALSCH", "sí no"]
for number, pair in enumerate(PAIRS):
    yes, no = pair.split()
    text(f"boolean_words_{number}.csv", lines(",", ["b", yes, no, ""], ["y", 1, 2, 3]),
         {"b": [yes, no, None], "y": [1, 2, 3]}, booleans=["b"])  # fmt: skip

# ---------------------------------------------------------------- options

text("given_separator.csv", "a:b\n1:2\n3:4\n", {"a": [1, 3], "b": [2, 4]}, options={"sep": ":"})
text("given_thousands.csv", "a;b\n1.234;2\n3.500;4\n", {"a": [1234, 3500], "b": [2, 4]},
     options={"thousands": ".", "decimal": ","})  # fmt: skip
text("given_decimal.tsv", "a\tb\n1,234\t2\n3,500\t4\n", {"a": [1.234, 3.5], "b": [2, 4]},
     options={"decimal": ","})  # fmt: skip

# ---------------------------------------------------------------- other formats

RECORDS = [dict(zip(PEOPLE, row, strict=True)) for row in zip(*PEOPLE.values(), strict=True)]
keep("records.json", json.dumps(RECORDS).encode(), PEOPLE)
keep("columns.json", json.dumps(PEOPLE).encode(), PEOPLE)
keep("nested_records.json", json.dumps({"ok": True, "data": RECORDS}).encode(), PEOPLE)
keep("lines.jsonl", "\n".join(map(json.dumps, RECORDS)).encode(), PEOPLE)
keep("lines.ndjson", "\n".join(map(json.dumps, RECORDS)).encode(), PEOPLE)
keep("lines.json", "\n".join(map(json.dumps, RECORDS)).encode(), PEOPLE)
keep(
    "lists.jsonl",
    b'{"x": "1,5", "tags": ["a", "b"]}\n{"x": "2,5", "tags": []}\n',
    {"x": [1.5, 2.5], "tags": [["a", "b"], []]},
)
keep(
    "structs.jsonl",
    b'{"id": 1, "at": {"x": 1.5, "y": 2}}\n{"id": 2, "at": {"x": 2.5, "y": null}}\n',
    {"id": [1, 2], "at.x": [1.5, 2.5], "at.y": [2, None]},
)

plain, german = people(",").encode(), people(";", comma(WEIGHT)).encode()
# No time stamps, so that the files are the same each time.
keep("packed.csv.gz", gzip.compress(german, mtime=0), PEOPLE)
keep("packed.csv.bz2", bz2.compress(german), PEOPLE)
keep("packed.csv.xz", lzma.compress(german), PEOPLE)
keep("packed_but_not_named_so.csv", gzip.compress(plain, mtime=0), PEOPLE)


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name.replace("__", ".")), content)
    return out.getvalue()


keep("packed.zip", zipped(table__csv=german), PEOPLE)
keep("packed.csv.zip", zipped(table__csv=german, README__md=b"hello"), PEOPLE)
refused("two_tables.zip", zipped(a__csv=plain, b__csv=german), "a.csv, b.csv")


def other_libraries() -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.feather
    import zstandard

    frame = pd.DataFrame(PEOPLE)
    keep("packed.csv.zst", zstandard.compress(german), PEOPLE)
    keep("people.parquet", frame.to_parquet(index=False), PEOPLE)
    out = io.BytesIO()
    pa.feather.write_feather(pa.table(PEOPLE), out)
    keep("people.feather", out.getvalue(), PEOPLE)
    out = io.BytesIO()
    with pa.ipc.new_stream(out, pa.table(PEOPLE).schema) as writer:
        writer.write_table(pa.table(PEOPLE))
    keep("stream.arrow", out.getvalue(), PEOPLE)
    sheets(frame)
    keep(
        "measurements.xlsx",
        measurements(),
        {"pH": [7.1, None, 7.3, 7.4, 7.5, 7.6, 7.6], "mass": [5, None, 6.5, 7, 8, 9, 9],
         "run": ["1", "2", "three", "4", "5", "6", "7"]},
        note="'three'",
    )  # fmt: skip
    databases(frame)


def sheets(frame: Any) -> None:
    import pandas as pd
    from openpyxl import Workbook

    for name, engine in (("people.xlsx", "openpyxl"), ("people.ods", "odf")):
        out = io.BytesIO()
        frame.to_excel(out, index=False, engine=engine)
        keep(name, out.getvalue(), PEOPLE)
        if engine == "openpyxl":
            keep("excel_named_csv.csv", out.getvalue(), PEOPLE)
    book = Workbook()
    sheet = book.active
    sheet.title = "Notes"
    sheet.append(["Measured by A. B."])
    sheet = book.create_sheet("Lab")
    for row in (["Laboratory 7"], [], ["sample", "pH", "day", "done"]):
        sheet.append(row)
    for i, day in enumerate(DATES):
        sheet.append([f"S{i}", f"7,{i}", pd.Timestamp(day).to_pydatetime(), i % 2 == 0])
    out = io.BytesIO()
    book.save(out)
    keep(
        "laboratory.xlsx",
        out.getvalue(),
        {"sample": [f"S{i}" for i in range(6)], "pH": [7.0, 7.1, 7.2, 7.3, 7.4, 7.5],
         "day": DATES, "done": [True, False] * 3},
        dates=["day"], booleans=["done"], note="','",
    )  # fmt: skip


def measurements() -> bytes:
    """A sheet in which words stand among numbers."""
    from openpyxl import Workbook

    book = Workbook()
    for row in (["pH", "mass", "run"], [7.1, 5, 1], ["n/a", "-", 2], [7.3, 6.5, "three"],
                [7.4, 7, 4], [7.5, 8, 5], [7.6, 9, 6], [7.6, 9, 7]):  # fmt: skip
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def databases(frame: Any) -> None:
    import tempfile

    def stored(**tables: Any) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "t.sqlite"
            connection = sqlite3.connect(place)
            for name, table in tables.items():
                table.to_sql(name, connection, index=False)
            connection.close()
            return place.read_bytes()

    keep("people.sqlite", stored(people=frame), PEOPLE)
    two = stored(people=frame, other=frame.head(1))
    keep("two_tables_and_a_query.db", two, {"name": NAMES[:2]},
         options={"query": "SELECT name FROM people LIMIT 2"})  # fmt: skip
    refused("two_tables.sqlite", two, "other, people")


other_libraries()

# ---------------------------------------------------------------- what cannot be read

refused("empty.csv", b"", "is empty")
refused("blank.csv", b"\n\n  \n", "is empty")
refused("only_a_header.csv", b"a,b\n", "no rows")
refused("same_name_twice.csv", b"a,a\n1,2\n", "more than one column named 'a'")
refused("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "PNG")
refused("page.xls", b"<html><body><table><tr><td>1</td></tr></table></body></html>", "HTML")
refused("letter.csv", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "PDF")
refused("rows_of_two_lengths.csv", b"a,b\n1,2\n3,4,5\n6,7\n" * 1, "line 3")
refused("broken.json", b'[{"a": 1}, {"a": ', "JSON")
refused("broken.parquet", b"PAR1 and nothing", "arquet")

(HERE / "expected.json").write_text(
    json.dumps(EXPECTED, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
)
print(len(EXPECTED), "files")
