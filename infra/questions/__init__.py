"""Questions for evaluations, collected from documents and from feedback."""
