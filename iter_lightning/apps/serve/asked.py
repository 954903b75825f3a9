"""The labels of a request: their limits, and the model that is bound to them."""

from __future__ import annotations

import logging
from typing import Any

from iter_lightning.apps.serve.options import ServeOptions
from iter_lightning.apps.serve.schemas import ApiError
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.labels import Labels

logger = logging.getLogger(__name__)


def bound(extractor: Extractor, options: ServeOptions, entities: Any, relations: Any) -> Extractor:
    """Return the extractor for the labels of a request; the given one if there are none.

    Args:
        extractor: The extractor of the server.
        options: The limits of labels.
        entities: The request's `labels`, whose form is not checked yet; None are the types of the model.
        relations: The request's `relations`.

    Raises:
        ApiError: The labels are not valid or over a limit, the types of the model are fixed, or it fails on them.
    """
    if entities is None and relations is None:
        return extractor
    entities = extractor.schema.entity_types if entities is None else entities
    try:
        _check_number(options.max_labels, entities, relations)
        labels = Labels.of(entities, relations)
        _check_lengths(options.max_label_characters, labels)
        return extractor.bind(labels)
    except ConfigError as error:
        raise ApiError("invalid_request", str(error)) from None
    except Exception as error:
        logger.exception("the model failed on the labels of a request")
        message = f"the model failed on these labels: {type(error).__name__}: {error}"
        raise ApiError("extraction_failed", message) from error


def _check_number(limit: int, *given: Any) -> None:
    """Raise `ConfigError` if there are too many labels; mistakes of another kind are left to `Labels.of`."""
    number = sum(len(labels) for labels in given if isinstance(labels, (list, tuple, dict)))
    if number > limit:
        raise ConfigError(f"labels, relations: expected at most {limit} together, found {number}")


def _check_lengths(limit: int, labels: Labels) -> None:
    """Raise `ConfigError` if the text of a label is too long."""
    texts = dict(labels.texts)
    for field, names in (("labels", labels.schema.entity_types), ("relations", labels.schema.relation_types)):
        for name in names:
            if (length := len(texts.get(name, name))) > limit:
                what = "name and description have" if name in texts else "the name has"
                raise ConfigError(f"{field}: {name:.40}: {what} {length} characters; expected at most {limit}")
