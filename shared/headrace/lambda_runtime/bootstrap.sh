#!/bin/sh
# AWS_LAMBDA_EXEC_WRAPPER: starts the streaming runtime in place of Lambda's own. $1 is the managed Python interpreter.
# The managed runtime puts these on the import path; a wrapper has to.
export PYTHONPATH="${LAMBDA_TASK_ROOT:-/var/task}:/opt/python${PYTHONPATH:+:$PYTHONPATH}"
exec "$1" -m headrace.lambda_runtime "${_HANDLER}"
