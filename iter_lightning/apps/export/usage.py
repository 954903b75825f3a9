"""The section of a model card that says how to use the model: code that runs as it stands."""

from __future__ import annotations

import shlex

from iter_lightning.apps.export.facts import ModelFacts
from iter_lightning.apps.export.metadata import CardOptions, languages
from iter_lightning.extraction.splitting import LANGUAGE

SENTENCE = "Ada Lovelace was born in London and worked with Charles Babbage."

_PYTHON = """from iter_lightning import Extractor

extractor = Extractor.from_pretrained({model!r}, language={language!r}{context})
document = extractor({sentence!r})
for entity in document.entities:  # offsets in characters, ends exclusive
    print(entity.type, entity.text, entity.start, entity.end, entity.score)
for relation in document.relations:
    print(relation.head.text, relation.type, relation.tail.text, relation.score)"""
_SPACY = """import spacy
import iter_lightning.apps.spacy  # registers the component

nlp = spacy.blank({language!r})
nlp.add_pipe("iter", config={{"model": {model!r}{config}}})
doc = nlp({sentence!r})
print([(span.text, span.label_) for span in doc.spans["iter"]])
print([(relation.head.text, relation.type, relation.tail.text) for relation in doc._.relations])"""
_SHELL = """python -m iter_lightning extract {model} texts/ --output found.jsonl{flags}
python -m iter_lightning extract {model} texts/ --output page.html{flags}
python -m iter_lightning serve {model}"""


def usage(facts: ModelFacts, options: CardOptions, onnx: bool = False) -> str:
    """Python, the command line, spaCy."""
    known = languages(facts, options)
    # spaCy's code: `zh` of `zh-Hant`, and `xx` for several languages
    language = known[0].partition("-")[0] if len(known) == 1 and known[0] != "multilingual" else "xx" if known else "en"
    values = {"model": options.name, "language": language, "sentence": SENTENCE}
    whole = facts.context == "document"
    values |= (
        {"context": ", context='document'", "config": ', "context": "document"'}
        if whole
        else dict.fromkeys(("context", "config"), "")
    )
    own = facts.config.language or LANGUAGE
    flags = ("" if language == own else f" --language {language}") + (" --context document" if whole else "")
    shell = {"model": shlex.quote(options.name), "flags": flags}
    parts = [
        "## Use",
        "`pip install 'iter-lightning[extract]'`, then, in Python:",
        f"```python\n{_PYTHON.format(**values)}\n```",
        "On the command line, over any number of texts, and as a server:",
        f"```bash\n{_SHELL.format(**shell)}\n```",
        "In a spaCy pipeline:",
        f"```python\n{_SPACY.format(**values)}\n```",
    ]
    if onnx:
        parts.append(
            'With the ONNX graphs, on a CPU: `Extractor.from_pretrained(..., backend="onnx")`, `--backend onnx`.'
        )
    if "/" not in options.name:
        parts.append(f"{options.name!r} is this folder; give its path.")
    return "\n\n".join(parts)
