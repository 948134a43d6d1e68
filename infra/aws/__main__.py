"""`make validate`, `make build`, `make deploy`, `make smoke`, `make destroy`, `make cost`.

python -m infra.aws validate
python -m infra.aws build [--architecture arm64]
python -m infra.aws deploy --stage dev [Auth=api_keys ChatModel=gpt-4.1 …]
python -m infra.aws smoke [--stage dev | --url https://….lambda-url.….on.aws]
python -m infra.aws destroy --stage dev
python -m infra.aws cost [--chats 60000 --hit-rate 0.3 --cache serverless-public …]
"""

from __future__ import annotations

import argparse
import os
import sys

from botocore.exceptions import BotoCoreError, ClientError

from infra.aws.cost import add_cost_arguments, print_cost
from infra.aws.deploy import deploy, next_steps, read_parameters
from infra.aws.destroy import destroy
from infra.aws.smoke import Door, SmokeError, smoke
from infra.aws.stacks import find_stack, name_of
from infra.aws.toolchain import ToolchainError, build, settle_region, validate


def main() -> int:
    """Do what the command line says; what goes wrong is a sentence."""
    given = _parser().parse_args()
    settle_region(os.environ)
    try:
        given.run(given)
    except (ToolchainError, SmokeError, ClientError, BotoCoreError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.aws", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    validating = commands.add_parser("validate", help="check template.yaml with sam")
    validating.set_defaults(run=lambda _: validate())
    building = commands.add_parser("build", help="build the artifacts into .aws-sam")
    building.add_argument("--architecture", default="arm64", choices=["arm64", "x86_64"])
    building.set_defaults(run=lambda given: build(given.architecture))
    deploying = commands.add_parser("deploy", help="build, and deploy a stage")
    deploying.add_argument("--stage", default="dev")
    deploying.add_argument("--built", action="store_true", help="deploy what was built last")
    deploying.add_argument(
        "parameters", nargs="*", metavar="Parameter=value", help="the template's; those not given stay"
    )
    deploying.set_defaults(run=_deploy)
    trying = commands.add_parser("smoke", help="upload, ask, remove")
    trying.add_argument("--stage", default="dev")
    trying.add_argument("--url", default="", help="a deployment that is no stage of this account")
    trying.set_defaults(run=_smoke)
    ending = commands.add_parser("destroy", help="take a stage down")
    ending.add_argument("--stage", default="dev")
    ending.set_defaults(run=lambda given: destroy(given.stage, report=print))
    counting = commands.add_parser("cost", help="what a deployment costs a month")
    add_cost_arguments(counting)
    counting.set_defaults(run=print_cost)
    return parser


def _deploy(given: argparse.Namespace) -> None:
    parameters = read_parameters(" ".join(given.parameters) or os.environ.get("PARAMETERS", ""))
    stack = deploy(given.stage, parameters, report=print, is_built=given.built)
    print("", *next_steps(stack), sep="\n")


def _smoke(given: argparse.Namespace) -> None:
    url = given.url
    if not url:
        stack = find_stack(name_of(given.stage))
        if stack is None:
            raise ToolchainError(
                f"There is no stack {name_of(given.stage)}. Deploy it (make deploy), or give URL=https://…"
            )
        url = stack.outputs["ChatUrl"]
        os.environ.setdefault("BUCKET", stack.outputs["Bucket"])
    key, host = os.environ.get("HEADRACE_KEY", ""), os.environ.get("HEADRACE_HOST", "")
    smoke(Door(url, key, host), report=print)


if __name__ == "__main__":
    sys.exit(main())
