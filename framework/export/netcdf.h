// NetCDF-4 of a run's logs, with labelled dimensions: what xarray opens.
#pragma once

#include <filesystem>
#include <string>

#include "core/error.h"
#include "export/run_logs.h"

namespace plumb {

/// Whether this build can write NetCDF; InputError that says what to install where it cannot.
void require_netcdf();

/// Name of a field's variable: its path with '_' for '.'; where the path has one level and is not of
/// metrics.jsonl, the file's name comes first ("ranks_loss").
std::string netcdf_name(const LogField& field);

/// One file with all records of all logs.
///   dimensions: step, stability_step, ranks_step (records of the three logs), stream_layer (K+1), sublayer,
///     tensor, rank, event, those that the logs have; each but event with a coordinate variable of its name,
///     of int64 or of strings
///   variables: float64 over (records, entries) with the attributes long_name, units, source, field (file and
///     path) and _FillValue; NaN where there is no value and where it was not finite
///   event_step, event_kind, event_text, event_time over event
///   global attributes: title, config (TOML), manifest (JSON)
/// The file appears under its name when it is whole. Throws Error with the library's reason.
void write_netcdf(const RunLogs& logs, const std::filesystem::path& file);

}  // namespace plumb
