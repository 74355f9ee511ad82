"""HTTP: proxy events, strict JSON, the resolver, and problem documents."""
