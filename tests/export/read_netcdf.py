"""Opens an exported NetCDF file in xarray and compares names, units, coordinates and values with the run's logs.

    read_netcdf.py RUN FILE METRICS      METRICS: what `plumb metrics --json` printed

Ends with status 77 and one line when xarray is not installed."""
import json
import pathlib
import sys

try:
    import netCDF4  # noqa: F401
    import numpy
    import xarray
except ImportError as error:
    print(f"{error}; launch/setup.sh --readers installs what is missing")
    sys.exit(77)

run, file, metrics = pathlib.Path(sys.argv[1]), sys.argv[2], json.loads(pathlib.Path(sys.argv[3]).read_text())
data = xarray.open_dataset(file)
DIMENSIONS = {"stream": "stream_layer"}


def records(name):
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


def value_of(record, path):
    for part in path.split("."):
        if part not in record:
            return None
        record = record[part]
    return record


header = records("stability.jsonl")[0]
assert list(data["tensor"].values) == header["tensors"]
assert list(data["sublayer"].values) == header["sublayers"]
assert list(data["norm"].values) == header["norms"]
assert list(data["stream_layer"].values) == list(range(len(header["sublayers"]) + 1))
logs = {"metrics.jsonl": ("step", records("metrics.jsonl")),
        "stability.jsonl": ("stability_step", records("stability.jsonl")[1:]),
        "ranks.jsonl": ("ranks_step", records("ranks.jsonl"))}
compared = 0
for field in metrics:
    if field["file"] not in logs or field["form"] == "text" or field["path"] == "step":
        continue
    steps, log = logs[field["file"]]
    assert list(data[steps].values) == [record["step"] for record in log]
    name = field["path"].replace(".", "_")
    if "." not in field["path"] and field["file"] != "metrics.jsonl":
        name = field["file"].split(".")[0] + "_" + name
    rows = [value_of(record, field["path"]) for record in log]
    present = [row for row in rows if row is not None]
    if not present:
        assert name not in data, f"{name} is in the file, but in no record"
        continue
    variable = data[name]
    assert variable.dtype == numpy.float64, f"{name} was decoded as {variable.dtype}"
    assert variable.dims == (steps, *[DIMENSIONS.get(d, d) for d in field["dimensions"]]), f"{name}: {variable.dims}"
    assert variable.attrs["units"] == field["unit"], name
    assert variable.attrs["long_name"] == field["definition"], name
    assert variable.attrs["source"] == field["source"], name
    empty = numpy.full(variable.shape[1:], numpy.nan)
    expected = numpy.array([empty if row is None else numpy.array(row, dtype=float) for row in rows])
    numpy.testing.assert_array_equal(variable.values, expected, err_msg=name)
    compared += 1
assert compared > 30, compared
assert data.attrs["config"] == (run / "config.toml").read_text()
assert float(data["loss"].sel(step=2)) == logs["metrics.jsonl"][1][1]["loss"]
print(f"{compared} variables compared")
