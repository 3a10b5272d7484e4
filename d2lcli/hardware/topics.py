"""The topics of `d2l bench`, in the order in which they are measured.  Imports nothing."""

TOPICS = {
    "compute": "matrix products by size, type and batch; element, column, block, whole as in the book",
    "memory": "bandwidth as STREAM counts it, latency by working set",
    "transfer": "copies between host and device, pinned or not, and overlapped with computing",
    "launch": "what an operation costs beside its arithmetic, asynchrony, the gain of torch.compile",
    "layers": "convolutions, attention and the like by size: what `d2l train --plan` predicts from",
    "models": "training and inference examples a second, the parts of a step, the share of the peak",
    "precision": "fp64, fp32, tf32, bf16, fp16 and int8: range, resolution and speed",
    "sequence": "convolution, recurrence and attention by length",
    "storage": "writing, syncing and reading files, and the product's own loader",
    "collectives": "all-reduce and others between processes: torch's, naive and ring",
    "scaling": "one to N processes: efficiency, and what communication takes",
    "roofline": "what computing and memory allow at each arithmetic intensity",
}
