"""What the template has to be, each rule a function that finds fault with it: for the tests, and for those that break it on purpose.

A rule gives sentences about what is wrong, none when all is well. It reads template.yaml as it stands; what SAM makes of it is
held by cfn-lint and by the deployment in tests/cloud.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from headrace.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
Template = dict[str, Any]
Rule = Callable[[Template], Iterator[str]]
RULES: list[Rule] = []
# Variables that are not settings of ours: Lambda's, Powertools', and what makes a new version.
OTHERS = {"POWERTOOLS_SERVICE_NAME", "AWS_LAMBDA_EXEC_WRAPPER", "RELEASE"}
FUNCTIONS = {
    "ChatFunction": ("functions.chat.main.app", "ChatRole", "ChatLogs"),
    "IngestFunction": ("functions.ingest.main.handler", "IngestRole", "IngestLogs"),
    "CacheMaintenanceFunction": (
        "functions.cache_maintenance.main.handler",
        "CacheMaintenanceRole",
        "CacheMaintenanceLogs",
    ),
}
# What each role may, beside what all may: action and the end of what it is allowed on.
ALLOWED = {
    "CommonAccess": {
        ("secretsmanager:GetSecretValue", "Secret"), ("elasticache:Connect", "serverlesscache:${Cache}"), ("elasticache:Connect", "user:default.iam-user"),
        ("bedrock:InvokeModel", "foundation-model/*"), ("bedrock:InvokeModel", "inference-profile/*"),
        ("bedrock:InvokeModelWithResponseStream", "foundation-model/*"), ("bedrock:InvokeModelWithResponseStream", "inference-profile/*"),
        ("kms:Decrypt", "KmsKeyArn"), ("kms:GenerateDataKey", "KmsKeyArn"),
    },
    "ChatRole": {
        *((f"s3vectors:{action}", end) for action in ("GetVectorBucket", "QueryVectors", "GetVectors") for end in ("Vectors", "${Vectors}/index/*")),
        ("logs:CreateLogStream", "${ChatLogs.Arn}"), ("logs:PutLogEvents", "${ChatLogs.Arn}"), *((f"s3:{action}", "${Bucket}/documents/*") for action in ("PutObject", "GetObjectVersion", "DeleteObject")),
        ("execute-api:ManageConnections", "/POST/@connections/*"), ("xray:PutTraceSegments", "*"),
    },
    "IngestRole": {
        *((f"s3vectors:{action}", end) for action in (
            "GetVectorBucket", "CreateIndex", "GetIndex", "PutVectors", "GetVectors", "ListVectors", "QueryVectors", "DeleteVectors",
        ) for end in ("Vectors", "${Vectors}/index/*")),
        ("logs:CreateLogStream", "${IngestLogs.Arn}"), ("logs:PutLogEvents", "${IngestLogs.Arn}"), ("s3:GetObject", "${Bucket}/documents/*"),
        ("s3:ListBucket", ":::${Bucket}"), ("sqs:SendMessage", "IngestQueue.Arn"), ("sqs:ChangeMessageVisibility", "IngestQueue.Arn"),
        *((f"sqs:{action}", queue) for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes") for queue in ("IngestQueue.Arn", "DeadLetters.Arn")),
    },
    "CacheMaintenanceRole": {
        *((f"s3vectors:{action}", end) for action in ("GetVectorBucket", "QueryVectors", "GetVectors") for end in ("Vectors", "${Vectors}/index/*")),
        ("logs:CreateLogStream", "${CacheMaintenanceLogs.Arn}"), ("logs:PutLogEvents", "${CacheMaintenanceLogs.Arn}"),
        ("s3:GetObject", "${Bucket}/documents/*"), ("s3:ListBucket", ":::${Bucket}"), ("sqs:SendMessage", "IngestQueue.Arn"),
        ("sqs:SendMessage", "LastLetters.Arn"),
    },
}  # fmt: skip
ALARMS = {
    "ChatErrorsAlarm": ("AWS/Lambda", "Errors"), "IngestErrorsAlarm": ("AWS/Lambda", "Errors"), "MaintenanceErrorsAlarm": ("AWS/Lambda", "Errors"),
    "ChatThrottlesAlarm": ("AWS/Lambda", "Throttles"),
    "SlowFirstTokenAlarm": ("Headrace/", "TimeToFirstToken"), "DeadLettersAlarm": ("AWS/SQS", "NumberOfMessagesReceived"),
    "LastLettersAlarm": ("AWS/SQS", "ApproximateNumberOfMessagesVisible"), "OldestMessageAlarm": ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
    "CacheStorageAlarm": ("AWS/ElastiCache", "BytesUsedForCache"),
}  # fmt: skip


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # untyped
    """Reads CloudFormation's short functions as `{"Fn": value}`."""


def _function(loader: Any, suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.MappingNode):
        return {suffix: loader.construct_mapping(node, deep=True)}
    return {suffix: loader.construct_sequence(node, deep=True)}


_Loader.add_multi_constructor("!", _function)


def read_template(text: str | None = None) -> Template:
    """The template, or another's text."""
    source = (ROOT / "template.yaml").read_text() if text is None else text
    loaded: Template = yaml.load(source, _Loader)  # noqa: S506 - a SafeLoader
    return loaded


def faults(template: Template) -> list[str]:
    """All that is wrong with a template."""
    found = []
    for rule in RULES:
        try:
            found += [f"{rule.__name__}: {fault}" for fault in rule(template)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            found.append(f"{rule.__name__}: {type(error).__name__} {error}")
    return found


def rule(function: Rule) -> Rule:
    """Have it among the rules."""
    RULES.append(function)
    return function


def of_type(template: Template, kind: str) -> dict[str, Any]:
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def variables_of(template: Template, function: str) -> dict[str, Any]:
    own = template["Resources"][function]["Properties"].get("Environment", {}).get("Variables", {})
    return {**template["Globals"]["Function"]["Environment"]["Variables"], **own}


def spelled(value: Any) -> str:
    """A value with its functions as text, to look for names in."""
    return value if isinstance(value, str) else json.dumps(value)


@rule
def every_function_begins_in_its_own_handler_with_its_own_role_and_log(template: Template) -> Iterator[str]:
    found = of_type(template, "AWS::Serverless::Function")
    if set(found) != set(FUNCTIONS):
        yield f"the functions are {sorted(found)}"
    for name, (handler, role, logs) in FUNCTIONS.items():
        properties = found[name]
        module, _, attribute = handler.rpartition(".")
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
        if properties["Handler"] != handler or not (
            f"def {attribute}(" in source or f"{attribute} = create_app(" in source
        ):
            yield f"{name} begins in {properties['Handler']}"
        if properties["Role"] != {"GetAtt": f"{role}.Arn"}:
            yield f"{name} has the role {properties['Role']}"
        if properties["LoggingConfig"] != {"LogFormat": "JSON", "LogGroup": {"Ref": logs}}:
            yield f"{name} logs to {properties['LoggingConfig']}"
        if (
            not properties.get("AutoPublishAliasAllProperties")
            or properties.get("VersionDescription") != variables_of(template, name)["RELEASE"]
        ):
            yield f"{name} is not published when something changes"
        if not 60 <= properties["Timeout"] <= 900 or "AutoPublishAlias" in properties:
            yield f"{name} has a timeout of {properties['Timeout']}, or an alias of its own"


@rule
def all_run_on_one_processor_and_python_with_their_layers(template: Template) -> Iterator[str]:
    shared = template["Globals"]["Function"]
    if shared["Runtime"] != "python3.13" or shared["Architectures"] != [{"Ref": "Architecture"}]:
        yield "the functions' runtime or processor"
    if shared["AutoPublishAlias"] != "live" or shared["VersionDeletionPolicy"] != "Delete":
        yield "old versions stay, or there is no alias"
    if shared["Layers"] != [{"Ref": "RuntimeLayer"}]:
        yield "functions without the runtime layer"
    for name, properties in of_type(template, "AWS::Serverless::Function").items():
        if {"Architectures", "Runtime"} & set(properties):
            yield f"{name} has a runtime or a processor of its own"
        wanted = [{"Ref": "ParsingLayer" if name == "IngestFunction" else "LedgerLayer"}]
        if properties.get("Layers") != wanted:
            yield f"{name} has the layers {properties.get('Layers')}"
    for name, properties in of_type(template, "AWS::Serverless::LayerVersion").items():
        resource = template["Resources"][name]
        if properties["CompatibleArchitectures"] != [{"Ref": "Architecture"}] or properties["CompatibleRuntimes"] != [
            "python3.13"
        ]:
            yield f"{name} is for {properties['CompatibleArchitectures']}, {properties['CompatibleRuntimes']}"
        if resource["Metadata"]["BuildMethod"] != "makefile" or properties["ContentUri"] != "shared/":
            yield f"{name} is not built by its recipe"
    for name in (*FUNCTIONS, "RuntimeLayer", "ParsingLayer", "LedgerLayer"):
        if template["Resources"][name]["Metadata"]["BuildMethod"] != "makefile":
            yield f"{name} is not built by its recipe"


@rule
def chat_streams_and_is_open_to_nobody_unknown(template: Template) -> Iterator[str]:
    chat = template["Resources"]["ChatFunction"]["Properties"]
    if chat["FunctionUrlConfig"] != {
        "AuthType": {"If": ["UsesIam", "AWS_IAM", "NONE"]},
        "InvokeMode": "RESPONSE_STREAM",
    }:
        yield f"its URL is {chat['FunctionUrlConfig']}"
    if chat["Environment"]["Variables"]["AWS_LAMBDA_EXEC_WRAPPER"] != "/opt/streaming-runtime":
        yield "it does not start on the streaming runtime"
    if chat["Environment"]["Variables"]["AUTH"] != {"Ref": "Auth"}:
        yield "the application does not know who may ask"
    parameter = template["Parameters"]["Auth"]
    if parameter["Default"] != "iam":
        yield "it is open by default"
    for auth in ("none", "", "iam,jwt", "none,jwt", "open", "api_keys,none"):
        if re.fullmatch(parameter["AllowedPattern"], auth):
            yield f"Auth={auth!r} opens it"
    for auth in ("iam", "jwt", "api_keys", "api_keys,jwt"):
        if not re.fullmatch(parameter["AllowedPattern"], auth):
            yield f"Auth={auth!r} can't be chosen"
    rules = template["Rules"]
    if rules["SnapshotsNeedAFilledSecret"]["RuleCondition"] != {
        "Equals": [{"Ref": "ChatSnapStart"}, "PublishedVersions"]
    }:
        yield "a version is published that can't start"
    if "JwtIssuer" not in spelled(rules["TokensNeedTheirIssuer"]) or "jwt" not in spelled(
        rules["TokensNeedTheirIssuer"]["RuleCondition"]
    ):
        yield "jwt can be chosen without an issuer"
    conditions = template["Conditions"]
    if conditions["UsesIam"] != {"Equals": [{"Ref": "Auth"}, "iam"]} or conditions["IsOpenUrl"] != {
        "Not": [{"Condition": "UsesIam"}]
    }:
        yield "the conditions of the URL"


@rule
def an_open_url_has_both_permissions_and_only_then(template: Template) -> Iterator[str]:
    found = {
        name: (r.get("Condition"), r["Properties"])
        for name, r in template["Resources"].items()
        if r["Type"] == "AWS::Lambda::Permission"
    }
    if set(found) != {"OpenUrlPermission", "OpenUrlInvokePermission", "SocketPermission"}:
        yield f"the permissions are {sorted(found)}"
    live = {"Ref": "ChatFunctionAliaslive"}
    wanted = {
        "OpenUrlPermission": ("IsOpenUrl", {"FunctionName": live, "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}),
        "OpenUrlInvokePermission": ("IsOpenUrl", {"FunctionName": live, "Action": "lambda:InvokeFunction", "Principal": "*", "InvokedViaFunctionUrl": True}),
    }  # fmt: skip
    for name, (condition, properties) in wanted.items():
        if found[name] != (condition, properties):
            yield f"{name} is {found[name]}"
    condition, socket = found["SocketPermission"]
    if (
        condition != "HasSockets"
        or socket["Principal"] != "apigateway.amazonaws.com"
        or "${SocketApi}" not in spelled(socket["SourceArn"])
    ):
        yield "SocketPermission lets others in"


@rule
def a_websocket_api_is_there_only_for_who_asks_for_it(template: Template) -> Iterator[str]:
    if template["Parameters"]["WebSocket"]["Default"] != "false":
        yield "it is there by default"
    parts = {n: r for n, r in template["Resources"].items() if n.startswith("Socket") or n.endswith("Route")}
    if {r.get("Condition") for r in parts.values()} != {"HasSockets"}:
        yield "a part of it stands without the others"
    routes = {r["RouteKey"]: r for r in of_type(template, "AWS::ApiGatewayV2::Route").values()}
    if set(routes) != {"$connect", "$default", "$disconnect"}:
        yield f"its routes are {sorted(routes)}"
    if routes["$connect"]["AuthorizationType"] != {"If": ["UsesIam", "AWS_IAM", "NONE"]}:
        yield "anybody connects"
    if "ChatFunctionAliaslive" not in spelled(
        template["Resources"]["SocketIntegration"]["Properties"]["IntegrationUri"]
    ):
        yield "it calls another version than the URL"
    # A stage without routes is deployed empty.
    if set(template["Resources"]["SocketStage"]["DependsOn"]) != {n for n in parts if n.endswith("Route")}:
        yield "its stage does not wait for its routes"


@rule
def roles_may_what_they_do_and_no_more(template: Template) -> Iterator[str]:
    statements = {"CommonAccess": template["Resources"]["CommonAccess"]["Properties"]["PolicyDocument"]["Statement"]}
    for name, role in of_type(template, "AWS::IAM::Role").items():
        if role["ManagedPolicyArns"] != [{"Ref": "CommonAccess"}]:
            yield f"{name} has the policies {role['ManagedPolicyArns']}"
        (assumes,) = role["AssumeRolePolicyDocument"]["Statement"]
        if assumes["Principal"] != {"Service": "lambda.amazonaws.com"} or assumes["Action"] != "sts:AssumeRole":
            yield f"{name} is taken by {assumes['Principal']}"
        statements[name] = [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]
    if set(statements) != set(ALLOWED):
        yield f"the roles are {sorted(statements)}"
    for name, wanted in ALLOWED.items():
        found = set()
        for statement in map(_if_chosen, statements[name]):
            if statement["Effect"] != "Allow":
                yield f"{name} denies something"
            for action in _listed(statement["Action"]):
                for resource in _listed(statement["Resource"]):
                    ends = {end for allowed, end in wanted if allowed == action and _ends(resource, end)}
                    if not ends or "*" in action:
                        yield f"{name} may {action} on {spelled(resource)}"
                    found |= {(action, end) for end in ends}
        for action, end in wanted - found:
            yield f"{name} may not {action} on …{end}"
    for name, function in of_type(template, "AWS::Serverless::Function").items():
        if "Policies" in function:
            yield f"{name} has policies beside its role"


def _if_chosen(value: Any) -> Any:
    """What an `!If` between something and nothing is when it is something."""
    if isinstance(value, dict) and "If" in value and value["If"][2] == {"Ref": "AWS::NoValue"}:
        return value["If"][1]
    return value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _ends(resource: Any, end: str) -> bool:
    """Whether a resource is the one meant: by the end of its ARN, or by the name of what it is the ARN of."""
    if isinstance(resource, dict) and "Sub" in resource:
        text = resource["Sub"] if isinstance(resource["Sub"], str) else resource["Sub"][0]
        return bool(text.endswith(end))
    return end in spelled(resource)


@rule
def the_vectors_come_with_the_stack_and_outlive_a_failed_deletion(template: Template) -> Iterator[str]:
    vectors = template["Resources"]["Vectors"]
    if vectors["Type"] != "AWS::S3Vectors::VectorBucket" or vectors["Condition"] != "BringsVectors":
        yield "the stack does not bring its vector bucket"
    if template["Conditions"]["SendsTraces"] != {"Equals": [{"Ref": "Traces"}, "on"]}:
        yield "traces are sent where nobody asked for them"
    if template["Conditions"]["BringsVectors"] != {"Equals": [{"Ref": "VectorStore"}, "s3vectors"]}:
        yield "the bucket comes with another choice"
    if template["Parameters"]["VectorStore"]["Default"] != "s3vectors":
        yield "a vector store has to be made by hand"
    # CloudFormation can't delete one that holds something, and the stack's deletion would fail.
    if vectors["DeletionPolicy"] != "Retain" or vectors["UpdateReplacePolicy"] != "Retain":
        yield "a bucket that holds vectors is to be deleted"
    if "VectorBucketName" in vectors["Properties"]:
        yield "two stacks would have one vector bucket"
    if vectors["Properties"]["EncryptionConfiguration"]["If"] != [
        "HasKey", {"SseType": "aws:kms", "KmsKeyArn": {"Ref": "KmsKeyArn"}}, {"SseType": "AES256"},
    ]:  # fmt: skip
        yield "the vectors are encrypted with another key"
    name = {"If": ["BringsVectors", {"Select": [1, {"Split": [":bucket/", {"Ref": "Vectors"}]}]}, ""]}
    if template["Globals"]["Function"]["Environment"]["Variables"]["VECTOR_BUCKET"] != name:
        yield "the functions do not know the vector bucket"


@rule
def no_secret_stands_in_a_configuration(template: Template) -> Iterator[str]:
    known = {name.upper() for name in Settings.__dataclass_fields__}
    for function in FUNCTIONS:
        variables = variables_of(template, function)
        for name in sorted(set(variables) - known - OTHERS):
            yield f"{name} is no setting"
        for name in sorted(variables):
            if name.endswith(("_KEY", "_KEYS", "_SECRETS", "_PASSWORD")) and name != "JWT_KEYS":
                yield f"{name} stands in {function}'s configuration"
    if "resolve:" in spelled(template):
        yield "a secret is resolved into the template"
    if any(p.get("NoEcho") for p in template["Parameters"].values()):
        yield "a secret is a parameter"
    if variables_of(template, "ChatFunction")["SECRET_ARN"] != {
        "If": ["MakesSecret", {"GetAtt": "Secret.Id"}, {"Ref": "SecretArn"}]
    }:
        yield "the functions do not know their secret"
    secret = template["Resources"]["Secret"]
    if secret["Condition"] != "MakesSecret" or secret["Properties"]["SecretString"] != "{}":
        yield "the secret that is made is not an empty one"


@rule
def every_parameter_reaches_something_and_every_setting_that_ingest_needs_is_there(template: Template) -> Iterator[str]:
    rest = spelled(
        {name: part for name, part in template.items() if name not in {"Parameters", "Metadata", "Description"}}
    )
    for name in template["Parameters"]:
        if f'"{name}"' not in rest and f"${{{name}}}" not in rest:
            yield f"{name} does nothing"
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    if sorted(name for group in groups for name in group["Parameters"]) != sorted(template["Parameters"]):
        yield "the groups of parameters do not have each once"
    wanted = {
        "IngestFunction": {"QUEUE_URL": {"Ref": "IngestQueue"}, "DEAD_LETTERS_ARN": {"GetAtt": "DeadLetters.Arn"}},
        "CacheMaintenanceFunction": {"QUEUE_URL": {"Ref": "IngestQueue"}, "TENANT_METRICS": {"Ref": "TenantMetrics"}},
        "ChatFunction": {"IAM_PRINCIPALS": {"Ref": "IamPrincipals"}, "DAILY_TOKEN_LIMIT": {"Ref": "DailyTokenLimit"}, "TOKENS_PER_DAY": {"Ref": "TokensPerDay"}},
    }  # fmt: skip
    for function, variables in wanted.items():
        for name, value in variables.items():
            if variables_of(template, function).get(name) != value:
                yield f"{function} has {name}={variables_of(template, function).get(name)}"
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    if shared["BUCKET"] != {"If": ["BringsBucket", {"Ref": "Documents"}, {"Ref": "ExistingBucket"}]}:
        yield "the functions work on another bucket"
    text = shared["RELEASE"]["Sub"]
    longest = sum(
        template["Parameters"][name].get("MaxLength")
        or max(map(len, map(str, template["Parameters"][name].get("AllowedValues", ["x" * 14])))) + 1
        for name in re.findall(r"\${(\w+)}", text)
    )
    if "${Release}" not in text or longest > 256:
        yield f"a version's description may take {longest} characters"


@rule
def the_cache_is_private_to_who_signs_and_has_a_limit(template: Template) -> Iterator[str]:
    cache = template["Resources"]["Cache"]
    properties = cache["Properties"]
    if cache["Condition"] != "BringsCache" or template["Parameters"]["CacheKind"]["Default"] != "serverless-public":
        yield "the stack does not bring its cache"
    wanted = {
        "Engine": "valkey",
        "MajorEngineVersion": "9",
        "ConnectionType": "public",
        "UserGroupId": "default.iam-user-group",
    }
    for name, value in wanted.items():
        if properties.get(name) != value:
            yield f"its {name} is {properties.get(name)}"
    limits = properties["CacheUsageLimits"]
    if limits["DataStorage"] != {"Maximum": {"Ref": "CacheStorageGB"}, "Unit": "GB"} or limits["ECPUPerSecond"] != {
        "Maximum": {"Ref": "CacheRequestUnits"}
    }:
        yield "it has no limit, and no end to what it costs"
    text, values = properties["ServerlessCacheName"]["Sub"]
    if "${Unique}" not in text or "AWS::StackId" not in spelled(values):
        yield "two stacks would have one cache"
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    if shared["REDIS_URL"]["If"][0] != "BringsCache" or not shared["REDIS_URL"]["If"][1]["Sub"].startswith("rediss://"):
        yield "it is spoken to without TLS"
    if (
        shared["REDIS_CACHE_NAME"] != {"If": ["BringsCache", {"Ref": "Cache"}, ""]}
        or shared["REDIS_MODE"]["If"][1] != "cluster"
    ):
        yield "the functions do not sign in to it"
    if "CACHE_TIMEOUT_SECONDS" in shared:
        yield "the time that a cache is given can't be chosen in the secret"
    thresholds = template["Mappings"]["StorageAlarm"]
    for size in template["Parameters"]["CacheStorageGB"]["AllowedValues"]:
        if thresholds[size]["Bytes"] != int(size) * 800_000_000:
            yield f"the alarm of {size} GB rings at {thresholds[size]['Bytes']}"


@rule
def a_message_outlives_its_function_and_ends_where_somebody_looks(template: Template) -> Iterator[str]:
    from functions.ingest.main import MAX_RECEIVES

    queues = of_type(template, "AWS::SQS::Queue")
    if set(queues) != {"IngestQueue", "DeadLetters", "LastLetters"}:
        yield f"the queues are {sorted(queues)}"
    ingest = template["Resources"]["IngestFunction"]["Properties"]
    for name, next_one in (("IngestQueue", "DeadLetters"), ("DeadLetters", "LastLetters")):
        queue = queues[name]
        if queue["VisibilityTimeout"] < 6 * ingest["Timeout"]:
            yield f"{name} shows a message again while it is worked on"
        if queue["RedrivePolicy"] != {
            "deadLetterTargetArn": {"GetAtt": f"{next_one}.Arn"},
            "maxReceiveCount": MAX_RECEIVES,
        }:
            yield f"{name} has {queue.get('RedrivePolicy')}"
    for name, queue in queues.items():
        if queue["MessageRetentionPeriod"] != 1_209_600 or queue["SqsManagedSseEnabled"] is not True:
            yield f"{name} forgets early, or is not encrypted"
    events = {event["Properties"]["Queue"]["GetAtt"]: event["Properties"] for event in ingest["Events"].values()}
    if set(events) != {"IngestQueue.Arn", "DeadLetters.Arn"}:
        yield f"ingest reads {sorted(events)}"
    for queue, event in events.items():
        if event["FunctionResponseTypes"] != ["ReportBatchItemFailures"]:
            yield f"a batch of {queue} fails as a whole"
        if not 2 <= event["ScalingConfig"]["MaximumConcurrency"] <= 100:
            yield f"{queue} starts as many functions as there are"
    if events["IngestQueue.Arn"]["BatchSize"] != 1:
        yield "a file waits for another"


@rule
def queues_and_bucket_speak_tls_alone_and_only_s3_of_this_account_writes(template: Template) -> Iterator[str]:
    open_to = {}
    for name, policy in of_type(template, "AWS::SQS::QueuePolicy").items():
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Allow":
                open_to[name] = statement
    if set(open_to) != {"IngestQueuePolicy"}:
        yield f"open queues: {sorted(open_to)}"
    statement = open_to["IngestQueuePolicy"]
    if statement["Principal"] != {"Service": "s3.amazonaws.com"} or statement["Action"] != "sqs:SendMessage":
        yield f"{statement['Principal']} may {statement['Action']}"
    if statement.get("Condition") != {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}:
        yield "buckets of others may write"
    denied = {"IngestQueue": 0, "DeadLetters": 0, "LastLetters": 0, "Documents": 0}
    policies = {**of_type(template, "AWS::SQS::QueuePolicy"), **of_type(template, "AWS::S3::BucketPolicy")}
    for policy in policies.values():
        for each in policy["PolicyDocument"]["Statement"]:
            is_rule = (
                each["Effect"] == "Deny"
                and each["Principal"] == "*"
                and each.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
            )
            if is_rule and each["Action"] in {"sqs:*", "s3:*"}:
                for name in denied:
                    denied[name] += spelled(each["Resource"]).count(f"{name}.Arn")
    for name, count in denied.items():
        if count < (2 if name == "Documents" else 1):
            yield f"{name} is spoken to without TLS"
    for name, policy in of_type(template, "AWS::SQS::QueuePolicy").items():
        # SQS refuses a policy that speaks of another queue than its own.
        (queue,) = policy["Queues"]
        if any(each["Resource"] != {"GetAtt": f"{queue['Ref']}.Arn"} for each in policy["PolicyDocument"]["Statement"]):
            yield f"{name} speaks of another queue than its own"
    covered = {
        each["Ref"] for policy in of_type(template, "AWS::SQS::QueuePolicy").values() for each in policy["Queues"]
    }
    if covered != {"IngestQueue", "DeadLetters", "LastLetters"}:
        yield f"policies are for {sorted(covered)}"


@rule
def the_bucket_is_private_versioned_kept_and_tells_of_every_change(template: Template) -> Iterator[str]:
    resource = template["Resources"]["Documents"]
    bucket = resource["Properties"]
    policy = template["Resources"]["DocumentsPolicy"]
    if policy["DeletionPolicy"] != "RetainExceptOnCreate" or policy["UpdateReplacePolicy"] != "Retain":
        yield "a bucket that stays loses its policy"
    if resource["DeletionPolicy"] != "RetainExceptOnCreate" or resource["UpdateReplacePolicy"] != "Retain":
        yield "documents go with the stack"
    if "BucketName" in bucket:
        yield "its name is taken when the stack comes back"
    wanted = {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}
    if {name for name, value in bucket["PublicAccessBlockConfiguration"].items() if value is True} != wanted:
        yield "it may become public"
    if bucket["VersioningConfiguration"]["Status"] != "Enabled" or bucket["OwnershipControls"] != {
        "Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]
    }:
        yield "it keeps no versions, or others own what they put there"
    if "ServerSideEncryptionConfiguration" not in bucket["BucketEncryption"]:
        yield "it is not encrypted"
    queues = bucket["NotificationConfiguration"]["QueueConfigurations"]
    if {q["Event"] for q in queues} != {"s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"}:
        yield "it does not tell of every change"
    below = {"S3Key": {"Rules": [{"Name": "prefix", "Value": "documents/"}]}}
    if any(q["Queue"] != {"GetAtt": "IngestQueue.Arn"} or q["Filter"] != below for q in queues):
        yield "it tells another queue, or of other keys"
    rules = {each["Id"]: each for each in bucket["LifecycleConfiguration"]["Rules"]}
    old = rules["old-versions"]
    if (
        old["Status"] != "Enabled"
        or old["NoncurrentVersionExpiration"]["NoncurrentDays"] > 90
        or "ExpirationInDays" in spelled(rules)
    ):
        yield "old versions stay for good, or documents go by themselves"
    if resource.get("DependsOn") != "IngestQueuePolicy":
        yield "its notifications are made before they may be sent"
    (cors,) = bucket["CorsConfiguration"]["CorsRules"]
    if cors["AllowedMethods"] != ["POST"]:
        yield f"pages of others may {cors['AllowedMethods']}"


@rule
def logs_and_names_do_not_outlive_or_collide(template: Template) -> Iterator[str]:
    groups = of_type(template, "AWS::Logs::LogGroup")
    if set(groups) != {logs for _, _, logs in FUNCTIONS.values()}:
        yield f"the log groups are {sorted(groups)}"
    for name, group in groups.items():
        if group["RetentionInDays"] != {"Ref": "LogRetentionDays"} or "${AWS::StackName}" not in spelled(
            group["LogGroupName"]
        ):
            yield f"{name} keeps for ever, or collides"
    sweep = template["Resources"]["CacheMaintenanceFunction"]["Properties"]["Events"]["Sweep"]["Properties"]
    if "${AWS::StackName}" not in spelled(sweep.get("Name")):
        yield "the schedules of two stacks collide"
    if sweep["ScheduleExpression"] != "rate(15 minutes)" or sweep["DeadLetterConfig"] != {
        "Arn": {"GetAtt": "LastLetters.Arn"}
    }:
        yield "maintenance runs at other times, or fails unseen"
    failing = template["Resources"]["CacheMaintenanceFunction"]["Properties"]["EventInvokeConfig"]
    if (
        failing["DestinationConfig"]["OnFailure"]["Destination"] != {"GetAtt": "LastLetters.Arn"}
        or failing["MaximumRetryAttempts"] != 0
    ):
        yield "a sweep that fails is told to nobody, or runs again beside the next one"
    for name, resource in template["Resources"].items():
        for key, value in resource["Properties"].items():
            if (
                key
                in {
                    "FunctionName",
                    "RoleName",
                    "TopicName",
                    "QueueName",
                    "TableName",
                    "BucketName",
                    "ManagedPolicyName",
                }
                and "Permission" not in name
            ):
                yield f"{name} has a name that another stack may have: {value}"


@rule
def somebody_is_told(template: Template) -> Iterator[str]:
    found = of_type(template, "AWS::CloudWatch::Alarm")
    if set(found) != set(ALARMS):
        yield f"the alarms are {sorted(found)}"
    for name, (namespace, metric) in ALARMS.items():
        alarm = found[name]
        if namespace not in spelled(alarm["Namespace"]) or alarm["MetricName"] != metric:
            yield f"{name} looks at {alarm['Namespace']} {alarm['MetricName']}"
        if alarm["AlarmActions"] != {"If": ["TellsSomebody", [{"Ref": "AlarmTopic"}], []]}:
            yield f"{name} tells nobody"
        if alarm["ComparisonOperator"] != "GreaterThanThreshold" or alarm["TreatMissingData"] != "notBreaching":
            yield f"{name} rings at other times"
    if (
        "ClusterId" in spelled(found["CacheStorageAlarm"]["Dimensions"])
        or found["SlowFirstTokenAlarm"].get("ExtendedStatistic") != "p95"
    ):
        yield "an alarm measures something else"
    if "Headrace/${AWS::StackName}" not in spelled(found["SlowFirstTokenAlarm"]["Namespace"]):
        yield "an alarm looks at another stack's metrics"
    if variables_of(template, "ChatFunction")["METRICS_NAMESPACE"] != {"Sub": "Headrace/${AWS::StackName}"}:
        yield "metrics go elsewhere than alarms look"
    body = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Sub"][0]
    widgets = json.loads(body)["widgets"]
    if len(widgets) != 6 or "TokensSpent" not in body or "TimeToFirstToken" not in body:
        yield "the dashboard lacks something"


@rule
def what_costs_by_itself_is_off(template: Template) -> Iterator[str]:
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    wanted = {
        "TenantMetrics": "off", "Traces": "off", "WebSocket": "false", "ChatSnapStart": "None", "ChatReservedConcurrency": 0, "CacheStorageGB": "1",
        "AlarmEmail": "", "SecretArn": "", "ExistingBucket": "", "Architecture": "arm64",
    }  # fmt: skip
    for name, value in wanted.items():
        if defaults[name] != value:
            yield f"{name} is {defaults[name]!r} by default"
    chat = template["Resources"]["ChatFunction"]["Properties"]
    if "ProvisionedConcurrencyConfig" in chat or "VpcConfig" in spelled(template["Resources"]):
        yield "something costs while nobody asks"
    if chat["ReservedConcurrentExecutions"] != {
        "If": ["ReservesConcurrency", {"Ref": "ChatReservedConcurrency"}, {"Ref": "AWS::NoValue"}]
    }:
        yield "no reservation turns everybody away"
    if chat["SnapStart"] != {"If": ["UsesSnapStart", {"ApplyOn": "PublishedVersions"}, {"Ref": "AWS::NoValue"}]}:
        yield "SnapStart is not a choice"
