"""AWS on this machine, to deploy into: MiniStack, with what it lacks for this stack put beside it.

- Policies are enforced and signatures checked (`AUTH=true`), so the roles of the template are what the functions can do.
- Python functions run without this environment's packages: what a layer forgets is missing, as on Lambda.
- A function with an exec wrapper runs behind the Runtime API, and its URL streams (`streaming`).
- `AWS::ElastiCache::ServerlessCache` is TLS and IAM before a real Redis in cluster mode (`cache`).

No change of the template is needed for any of it. What it can't prove, docs/deploy.md lists.
"""
