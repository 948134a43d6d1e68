"""Who asks in this cloud, and what their policies allow them, for services that MiniStack does not have."""

from __future__ import annotations

from importlib import import_module

from botocore.credentials import Credentials


def credentials_of(key_id: str) -> Credentials | None:
    """The keys that this cloud has given out under that id; None for none."""
    found = import_module("ministack.core.iam_evaluator").resolve_credential(key_id)
    secret = getattr(found, "secret_access_key", None)
    return Credentials(key_id, secret, found.session_token) if secret else None


def may(key_id: str, action: str, arns: list[str]) -> bool:
    """Whether the identity's policies allow the action on each of the ARNs."""
    iam = import_module("ministack.core.iam_evaluator")
    principal = iam.resolve_principal(key_id, "000000000000")
    if getattr(principal, "policies", None) is None:
        return bool(getattr(principal, "type", "") == "Root")
    return all(
        iam.evaluate(
            iam.EvalContext(
                principal_arn=principal.arn, principal_type=principal.type, principal_account=principal.account,
                action=action, resource_arn=arn, region="us-east-1",
            ),
            principal.policies,
        ).decision
        == "Allow"
        for arn in arns
    )  # fmt: skip
