// Faults that are asked for: PLUMB_EMULATION_FAULT = [rank=R:]KIND@N, several separated by commas.
#pragma once

#include <cstdint>
#include <string_view>

namespace plumb::emulation {

/// Malloc: the N-th cudaMalloc gives cudaErrorMemoryAllocation. Launch: the N-th kernel fails with
/// cudaErrorLaunchFailure when it runs. NcclAsync: from the N-th collective on none completes and
/// ncclCommGetAsyncError gives ncclRemoteError. NcclSkip: this rank does not issue its N-th collective.
/// LeadingDimension: the N-th cublasLtMatmul is given a leading dimension of A that is one too small.
enum class Fault { Malloc, Launch, NcclAsync, NcclSkip, LeadingDimension };

/// To be called once per event of that kind; true when the fault strikes at this one. N counts from 1.
bool strikes(Fault fault);

/// Replaces what the environment said and starts counting anew (tests). InputError on anything malformed.
void set_faults(std::string_view text);

}  // namespace plumb::emulation
