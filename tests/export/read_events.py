"""Reads a run's TensorBoard events by TensorBoard's own reader and compares them with metrics.jsonl.

    read_events.py RUN

Ends with status 77 and one line when TensorBoard is not installed."""
import json
import pathlib
import sys

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as error:
    print(f"{error}; launch/setup.sh --readers installs what is missing")
    sys.exit(77)
import numpy

run = pathlib.Path(sys.argv[1])
events = EventAccumulator(str(run / "tensorboard"), size_guidance={"tensors": 0, "scalars": 0})
events.Reload()
log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
# The reader turns simple values into tensors of one entry, as it does for every writer.
tags = {tag: events.Tensors(tag) for tag in events.Tags()["tensors"]}
tags.update({tag: events.Scalars(tag) for tag in events.Tags()["scalars"]})


def value_of(event):
    return event.value if hasattr(event, "value") else event.tensor_proto.float_val[0]


for path in ["loss", "lr", "grad_norm", "tokens", "max_abs", "val_loss", "skipped", "overflows"]:
    expected = [(record["step"], float(numpy.float32(record[path]))) for record in log if path in record]
    found = [(event.step, value_of(event)) for event in tags[f"metrics/{path}"]]
    assert expected, path
    assert found == expected, f"{path}: {found} instead of {expected}"
assert any(tag.startswith("stability/") for tag in tags)
description = events.SummaryMetadata("metrics/loss").summary_description
assert "nats per token" in description, description
print(f"{len(tags)} tags, {len(log)} steps")
