"""Traces: what an answer spends its time on, by OpenTelemetry."""
