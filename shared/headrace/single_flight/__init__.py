"""Single flight: equal questions asked at the same time share one answer, in this process and across processes."""
