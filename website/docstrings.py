"""An extension of griffe: values do not have the docstrings of their types.

Griffe inspects the package at run time, because the parameters of the estimators are declared by
calls. It then takes the docstring of ``float`` for that of an attribute whose value is 0.9.
"""

from typing import Any

import griffe


class OwnDocstrings(griffe.Extension):
    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        if "property" not in attr.labels:
            attr.docstring = None
