"""A trained model behind HTTP: requests of many clients share the model's calls.

`python -m iter_lightning serve [MODEL]` starts it. Where to change what:

- `options.py`: every limit, which is also a command-line option
- `schemas.py`: the JSON of requests and answers
- `app.py`: the paths
- `service.py`: one request, from its admission to its answer, and the limits of its size
- `labels.py`: the types that a request asks for
- `batching.py`: which sentences share a call of the model
- `server.py`: the socket, signals and logging
- `connections.py`: the number of connections, and timeouts of headers
- `metrics.py`: what `/metrics` reports
"""
