"""From raw text to entities and relations in character offsets: extracting, reading and writing, looking."""
