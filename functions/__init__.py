"""One blueprint a capability: a trigger in, one call into `shared`, an answer out."""
