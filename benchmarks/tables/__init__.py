"""Compare estimators on real tables: ``python -m benchmarks.tables --help``.

    python -m pip install -r benchmarks/tables/requirements.txt
    python -m benchmarks.tables list
    python -m benchmarks.tables run results.parquet --half development
    python -m benchmarks.tables report results.parquet --out report/

All contestants get the same rows, splits and number of threads, and are used at their defaults.
Half of the tables are for development. The other half is for the report: choose nothing by it.
"""
