"""Extract entities and relations from raw text: `Extractor`, readers, writers, HTML pages, servers, and exports."""
