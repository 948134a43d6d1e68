"""Deliberate mistakes in the template, each of which its rules must find: what nobody would notice is no rule.

Each is what a hurried hand does: a word too many or too few. That a mistake is still in the text at all is asserted, so none
goes out of date unnoticed.
"""

from __future__ import annotations

import pytest

from tests.deploy.template import ROOT, faults, read_template

SOURCE = (ROOT / "template.yaml").read_text()
# (where to begin looking, what stands there, what a hurried hand makes of it)
MUTATIONS = {
    "the runtime layer forgotten": ("Globals:", "    Layers: [!Ref RuntimeLayer]\n", ""),
    "the parsing layer forgotten": ("  IngestFunction:", "      Layers: [!Ref ParsingLayer]\n", ""),
    "the wrapper misspelled": ("  ChatFunction:", "/opt/streaming-runtime", "/opt/streaming_runtime"),
    "the wrapper left out": ("  ChatFunction:", "          AWS_LAMBDA_EXEC_WRAPPER: /opt/streaming-runtime\n", ""),
    "another Python": ("Globals:", "Runtime: python3.13", "Runtime: python3.12"),
    "a processor of its own": ("  IngestFunction:", "      MemorySize: 3008\n", "      MemorySize: 3008\n      Architectures: [x86_64]\n"),
    "a layer for one processor": ("  RuntimeLayer:", "CompatibleArchitectures: [!Ref Architecture]", "CompatibleArchitectures: [x86_64]"),
    "no alias": ("Globals:", "    AutoPublishAlias: live\n", ""),
    "versions kept": ("Globals:", "VersionDeletionPolicy: Delete", "VersionDeletionPolicy: Retain"),
    "parameters that publish nothing": ("  ChatFunction:", "      VersionDescription: *release\n", ""),
    "another handler": ("  ChatFunction:", "functions.chat.main.app", "functions.chat.main.application"),
    "another function's role": ("  CacheMaintenanceFunction:", "!GetAtt CacheMaintenanceRole.Arn", "!GetAtt IngestRole.Arn"),
    "another function's log": ("  CacheMaintenanceFunction:", "LogGroup: !Ref CacheMaintenanceLogs", "LogGroup: !Ref ChatLogs"),
    "no log group": ("  ChatFunction:", "        LogGroup: !Ref ChatLogs\n", ""),
    "a URL that buffers": ("  ChatFunction:", "InvokeMode: RESPONSE_STREAM", "InvokeMode: BUFFERED"),
    "a URL for everybody": ("  ChatFunction:", "AuthType: !If [UsesIam, AWS_IAM, NONE]", "AuthType: NONE"),
    "a URL the wrong way round": ("  ChatFunction:", "!If [UsesIam, AWS_IAM, NONE]", "!If [UsesIam, NONE, AWS_IAM]"),
    "an application that authenticates nobody": ("  ChatFunction:", "          AUTH: !Ref Auth\n", ""),
    "open by default": ("  Auth:\n", "    Default: iam\n", "    Default: api_keys\n"),
    "none can be chosen": ("  Auth:\n", '"iam|((api_keys|jwt)', '"none|iam|((api_keys|jwt)'),
    "the open URL's first permission left out": ("  OpenUrlPermission:", "lambda:InvokeFunctionUrl", "lambda:InvokeFunction"),
    "the open URL's second permission for all calls": ("  OpenUrlInvokePermission:", "      InvokedViaFunctionUrl: true\n", ""),
    "the open URL's permission always": ("  OpenUrlPermission:", "    Condition: IsOpenUrl\n", ""),
    "a permission on no alias": ("  OpenUrlPermission:", "!Ref ChatFunctionAliaslive", "!Ref ChatFunction"),
    "a condition inverted": ("Conditions:", "IsOpenUrl: !Not [!Condition UsesIam]", "IsOpenUrl: !Condition UsesIam"),
    "anybody connects a socket": ("  ConnectRoute:", "AuthorizationType: !If [UsesIam, AWS_IAM, NONE]", "AuthorizationType: NONE"),
    "a socket's stage before its routes": ("  SocketStage:", "DependsOn: [ConnectRoute, DefaultRoute, DisconnectRoute]", "DependsOn: [ConnectRoute]"),
    "sockets call another version": ("  SocketIntegration:", "${ChatFunctionAliaslive}", "${ChatFunction.Arn}"),
    "sockets from every API": ("  SocketPermission:", "${SocketApi}/*", "*/*"),
    "s3:* on everything": ("  ChatRole:", 'Action: s3:PutObject\n                Resource: !Sub\n                  - "arn:${AWS::Partition}:s3:::${Bucket}/documents/*"\n                  - Bucket: !If [BringsBucket, !Ref Documents, !Ref ExistingBucket]', 'Action: s3:*\n                Resource: "*"'),
    "chat reads documents": ("  ChatRole:", "Action: s3:PutObject", "Action: [s3:PutObject, s3:GetObject]"),
    "chat writes anywhere in the bucket": ("  ChatRole:", "${Bucket}/documents/*", "${Bucket}/*"),
    "ingest can't read": ("  IngestRole:", "Action: s3:GetObject", "Action: s3:GetObjectTagging"),
    "ingest can't list": ("  IngestRole:", "Action: s3:ListBucket", "Action: s3:ListBucketVersions"),
    "ingest can't write to its queue": ("  IngestRole:", "Action: sqs:SendMessage", "Action: sqs:ReceiveMessage"),
    "half an hour for what passes": ("  IngestRole:", "Action: sqs:ChangeMessageVisibility", "Action: sqs:GetQueueUrl"),
    "ingest can't read dead letters": ("  IngestRole:", "Resource: [!GetAtt IngestQueue.Arn, !GetAtt DeadLetters.Arn]", "Resource: [!GetAtt IngestQueue.Arn]"),
    "the secret of everybody": ("  CommonAccess:", "Resource: !If [MakesSecret, !GetAtt Secret.Id, !Ref SecretArn]", 'Resource: "*"'),
    "secrets may be written": ("  CommonAccess:", "secretsmanager:GetSecretValue", "secretsmanager:*"),
    "every cache of the account": ("  CommonAccess:", "serverlesscache:${Cache}", "serverlesscache:*"),
    "the cache's user forgotten": ("  CommonAccess:", "user:default.iam-user", "user:default"),
    "all of Bedrock": ("  CommonAccess:", "[bedrock:InvokeModel, bedrock:InvokeModelWithResponseStream]", "bedrock:*"),
    "a role for anybody": ("  ChatRole:", "Principal: {Service: lambda.amazonaws.com}", 'Principal: {AWS: "*"}'),
    "a role for another service": ("  ChatRole:", "Service: lambda.amazonaws.com", "Service: ec2.amazonaws.com"),
    "a managed policy too many": ("  IngestRole:", "ManagedPolicyArns: [!Ref CommonAccess]", "ManagedPolicyArns: [!Ref CommonAccess, arn:aws:iam::aws:policy/AmazonS3FullAccess]"),
    "a key in the configuration": ("Globals:", "        VECTOR_STORE:", '        OPENAI_API_KEY: !Sub "{{resolve:secretsmanager:${SecretArn}:SecretString:OPENAI_API_KEY}}"\n        VECTOR_STORE:'),
    "a setting misspelled": ("Globals:", "        EMBEDDING_MODEL:", "        EMBEDING_MODEL:"),
    "no secret": ("Globals:", "        SECRET_ARN: !If [MakesSecret, !GetAtt Secret.Id, !Ref SecretArn]\n", ""),
    "a parameter that does nothing": ("  ChatFunction:", "          FALLBACK_MODELS: !Ref FallbackModels\n", ""),
    "the quota forgotten": ("  ChatFunction:", "DAILY_TOKEN_LIMIT: !Ref DailyTokenLimit", "DAILY_TOKEN_LIMIT: 0"),
    "no queue for maintenance": ("  CacheMaintenanceFunction:", "          QUEUE_URL: !Ref IngestQueue\n", ""),
    "no dead letters for ingest": ("  IngestFunction:", "          DEAD_LETTERS_ARN: !GetAtt DeadLetters.Arn\n", ""),
    "another bucket": ("Globals:", "BUCKET: !If [BringsBucket, !Ref Documents, !Ref ExistingBucket]", "BUCKET: !Ref ExistingBucket"),
    "a cache without TLS": ("Globals:", "rediss://", "redis://"),
    "a cache that is not clustered": ("Globals:", "REDIS_MODE: !If [BringsCache, cluster, !Ref RedisMode]", "REDIS_MODE: !If [BringsCache, standalone, !Ref RedisMode]"),
    "nobody signs in to the cache": ("Globals:", '        REDIS_CACHE_NAME: !If [BringsCache, !Ref Cache, ""]\n', ""),
    "a cache of Valkey 8": ("  Cache:\n", 'MajorEngineVersion: "9"', 'MajorEngineVersion: "8"'),
    "a cache for passwords": ("  Cache:\n", "UserGroupId: default.iam-user-group", "UserGroupId: default"),
    "a cache without an end": ("  Cache:\n", "Maximum: !Ref CacheStorageGB", "Maximum: 5000"),
    "one cache for two stacks": ("  Cache:\n", "headrace-${Stage}-${Unique}", "headrace-${Stage}") ,
    "a cache that is always made": ("  Cache:\n", "    Condition: BringsCache\n", ""),
    "a wrong threshold": ("Mappings:", '"5": {Bytes: 4000000000}', '"5": {Bytes: 40000000000}'),
    "messages shown again too early": ("  IngestQueue:", "VisibilityTimeout: 1800", "VisibilityTimeout: 300"),
    "given up at once": ("  IngestQueue:", "maxReceiveCount: 5", "maxReceiveCount: 1"),
    "no dead letters": ("  IngestQueue:", "deadLetterTargetArn: !GetAtt DeadLetters.Arn", "deadLetterTargetArn: !GetAtt LastLetters.Arn"),
    "dead letters without an end": ("  DeadLetters:\n", "deadLetterTargetArn: !GetAtt LastLetters.Arn", "deadLetterTargetArn: !GetAtt DeadLetters.Arn"),
    "messages forgotten after four days": ("  IngestQueue:", "      MessageRetentionPeriod: 1209600\n", ""),
    "a queue in the clear": ("  IngestQueue:", "SqsManagedSseEnabled: true", "SqsManagedSseEnabled: false"),
    "a batch fails as a whole": ("  IngestFunction:", "            FunctionResponseTypes: [ReportBatchItemFailures]\n", ""),
    "an event source without bounds": ("  IngestFunction:", "              MaximumConcurrency: 30\n", "              MaximumConcurrency: 1000\n"),
    "dead letters that nobody reads": ("  IngestFunction:", "Queue: !GetAtt DeadLetters.Arn", "Queue: !GetAtt LastLetters.Arn"),
    "a queue open to the world": ("  IngestQueuePolicy:", "              Service: s3.amazonaws.com\n", '              AWS: "*"\n'),
    "a queue for every bucket of the world": ("  IngestQueuePolicy:", "            Condition:\n              StringEquals:\n                aws:SourceAccount: !Ref AWS::AccountId\n", ""),
    "TLS the wrong way round": ("  IngestQueuePolicy:", 'aws:SecureTransport: "false"', 'aws:SecureTransport: "true"'),
    "a queue without TLS": ("  DeadLettersPolicy:", "Queues: [!Ref DeadLetters]", "Queues: [!Ref IngestQueue]"),
    "a policy for two queues": ("  DeadLettersPolicy:", "Resource: !GetAtt DeadLetters.Arn", "Resource: [!GetAtt DeadLetters.Arn, !GetAtt LastLetters.Arn]"),
    "a bucket that loses its policy": ("  DocumentsPolicy:", "    DeletionPolicy: RetainExceptOnCreate\n", ""),
    "sweeps that fail unseen": ("  CacheMaintenanceFunction:", "Destination: !GetAtt LastLetters.Arn", "Destination: !GetAtt DeadLetters.Arn"),
    "sweeps that run again beside the next": ("  CacheMaintenanceFunction:", "MaximumRetryAttempts: 0", "MaximumRetryAttempts: 2"),
    "maintenance can't tell that it failed": ("  CacheMaintenanceRole:", "                Resource: !GetAtt LastLetters.Arn\n", "                Resource: !GetAtt IngestQueue.Arn\n"),
    "every key of the account": ("  CommonAccess:", "Resource: !Ref KmsKeyArn", 'Resource: "*"'),
    "SnapStart with an empty secret": ("Rules:", "RuleCondition: !Equals [!Ref ChatSnapStart, PublishedVersions]", "RuleCondition: !Equals [!Ref Stage, none]"),
    "objects without TLS": ("  DocumentsPolicy:", '              - !Sub "${Documents.Arn}/*"\n', ""),
    "TLS inverted for the bucket": ("  DocumentsPolicy:", 'aws:SecureTransport: "false"', 'aws:SecureTransport: "true"'),
    "documents deleted with the stack": ("  Documents:\n    Type", "DeletionPolicy: RetainExceptOnCreate", "DeletionPolicy: Delete"),
    "documents deleted with a replacement": ("  Documents:\n    Type", "UpdateReplacePolicy: Retain", "UpdateReplacePolicy: Delete"),
    "a bucket that may become public": ("  Documents:\n    Type", "BlockPublicPolicy: true", "BlockPublicPolicy: false"),
    "a bucket without versions": ("  Documents:\n    Type", "      VersioningConfiguration:\n        Status: Enabled", "      VersioningConfiguration:\n        Status: Suspended"),
    "a bucket with a name": ("  Documents:\n    Type", "    Properties:\n      Versioning", "    Properties:\n      BucketName: headrace-documents\n      Versioning"),
    "removals that nobody hears of": ("  Documents:\n    Type", "s3:ObjectRemoved:*", "s3:ObjectRemoved:Delete"),
    "changes of other keys": ("  Documents:\n    Type", "Value: documents/", "Value: document/"),
    "notifications before they may be sent": ("  Documents:\n    Type", "    DependsOn: IngestQueuePolicy\n", ""),
    "old versions for good": ("  Documents:\n    Type", "NoncurrentDays: 30", "NoncurrentDays: 3650"),
    "pages of others read": ("  Documents:\n    Type", "AllowedMethods: [POST]", "AllowedMethods: [POST, GET]"),
    "logs for ever": ("  IngestLogs:", "      RetentionInDays: !Ref LogRetentionDays\n", ""),
    "logs that collide": ("  IngestLogs:", "/headrace/${AWS::StackName}/ingest", "/headrace/ingest"),
    "a schedule without a name": ("  CacheMaintenanceFunction:", '            Name: !Sub "${AWS::StackName}-sweep"\n', ""),
    "a schedule by the second": ("  CacheMaintenanceFunction:", "rate(15 minutes)", "rate(1 minute)"),
    "a schedule that fails unseen": ("  CacheMaintenanceFunction:", "              Arn: !GetAtt LastLetters.Arn\n", "              Arn: !GetAtt IngestQueue.Arn\n"),
    "an alarm that tells nobody": ("  ChatErrorsAlarm:", "AlarmActions: !If [TellsSomebody, [!Ref AlarmTopic], []]", "AlarmActions: []"),
    "an alarm on another metric": ("  ChatErrorsAlarm:", "MetricName: Errors", "MetricName: Error"),
    "an alarm the wrong way round": ("  OldestMessageAlarm:", "GreaterThanThreshold", "LessThanThreshold"),
    "an alarm of averages": ("  SlowFirstTokenAlarm:", "ExtendedStatistic: p95", "Statistic: Average"),
    "metrics of all stacks": ("Globals:", 'METRICS_NAMESPACE: !Sub "Headrace/${AWS::StackName}"', "METRICS_NAMESPACE: Headrace"),
    "a broken dashboard": ("  Dashboard:", '{"widgets": [', '{"widgets": [,'),
    "metrics by tenant": ("  TenantMetrics:", 'Default: "off"', 'Default: "on"'),
    "nobody is served": ("  ChatFunction:", "!If [ReservesConcurrency, !Ref ChatReservedConcurrency, !Ref AWS::NoValue]", "!Ref ChatReservedConcurrency"),
    "SnapStart by default": ("  ChatSnapStart:", "Default: None", "Default: PublishedVersions"),
    "a function in a VPC": ("  ChatFunction:", "      Timeout: 300\n", "      Timeout: 300\n      VpcConfig: {SubnetIds: [subnet-1], SecurityGroupIds: [sg-1]}\n"),
    "provisioned concurrency": ("  ChatFunction:", "      Timeout: 300\n", "      Timeout: 300\n      ProvisionedConcurrencyConfig: {ProvisionedConcurrentExecutions: 1}\n"),
    "a function of one second": ("  IngestFunction:", "      Timeout: 300\n", "      Timeout: 1\n"),
    "a parameter in no group": ("Metadata:", "[Stage, Architecture, SecretArn, KmsKeyArn, Release]", "[Stage, Architecture, SecretArn, KmsKeyArn]"),
    "a description that is too long": ("  ChatModel:\n", "    MaxLength: 50\n", "    MaxLength: 200\n"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MUTATIONS)
def test_a_deliberate_mistake_is_found(mistake: str) -> None:
    place, old, new = MUTATIONS[mistake]
    begin = SOURCE.index(f"\n{place}") if not place.endswith("\n") else SOURCE.index(place)
    at = SOURCE.index(old, begin)
    assert at - begin < 6000, "it is the part that is meant"
    assert faults(read_template(SOURCE[:at] + new + SOURCE[at + len(old) :])), f"nobody noticed: {mistake}"


def test_the_template_as_it_is_has_no_fault() -> None:
    assert faults(read_template()) == []
