"""S3 notifications, as they arrive in SQS messages, to the keys of documents that changed.

A notification is taken as a hint that a key has changed, never as the truth:
the pipeline looks at what the bucket holds now. So order, duplicates and
the kind of event don't matter.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from __future__ import annotations

import json
from urllib.parse import unquote_plus

from headrace.errors import InvalidInputError
from headrace.types import DocumentKey


def changed_documents(message_body: str) -> list[DocumentKey]:
    """The documents that one message speaks of, each once; none for S3's test event and for keys that are no documents.

    A sidecar speaks of the document beside it.

    Raises InvalidInputError for a message that S3 did not write.
    """
    try:
        message = json.loads(message_body)
        if message.get("Event") == "s3:TestEvent":
            return []
        keys = [unquote_plus(record["s3"]["object"]["key"]) for record in message["Records"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            "The message is no S3 notification; it was put into the queue by something else."
        ) from error
    documents = dict.fromkeys(DocumentKey(key).labelled for key in keys)
    return [key for key in documents if key.is_document]
