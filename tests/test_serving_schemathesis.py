"""The server keeps what its description in OpenAPI promises, for requests that it generates."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

import deltaprop as dp

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["classifier", "regressor"])
def described(request, tmp_path_factory):
    schemathesis = pytest.importorskip("schemathesis")
    pytest.importorskip("starlette")
    from deltaprop.serving import Limits, application

    table = dp.tables.read_table("data/penguins.csv").dropna()
    target = "species" if request.param == "classifier" else "body_mass_g"
    kind = dp.TabularClassifier if request.param == "classifier" else dp.TabularRegressor
    model = kind(cv=2, max_iter=3, random_state=0).fit(table.drop(columns=target), table[target])
    path = tmp_path_factory.mktemp("schema") / "penguins.dp"
    dp.save(model, path)
    app = application(str(path), host="0.0.0.0", limits=Limits(rows=20))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def test_the_server_keeps_its_description(described):
    from schemathesis.specs.openapi.checks import positive_data_acceptance as accepts_all

    checked = []
    for found in described.get_all_operations():
        operation = found.ok()
        checked.append(operation.path)

        @given(case=operation.as_strategy())
        @settings(
            max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def keeps_it(case):
            # A schema cannot say that columns have equal lengths or that a word is a date.
            case.call_and_validate(excluded_checks=[accepts_all])

        keeps_it()
    assert "/predict" in checked
    assert "/v2/models/penguins/infer" in checked
