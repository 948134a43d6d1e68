"""The deployment, from a terminal: build, deploy, try it out, count its cost, take it down (`make deploy` and the others)."""
