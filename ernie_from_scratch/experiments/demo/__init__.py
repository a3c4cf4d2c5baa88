"""`ernie demo`: from a table of facts, or the user's own text, to a model that answers over HTTP."""
