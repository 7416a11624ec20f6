// Makes the backend that the configuration names.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace plumb {

/// Which attention a backend that has several runs: its own kernels, the vendor's library, or what suits the
/// shape.
enum class AttentionChoice { Auto, Own, Library };

struct BackendOptions {
  int local_rank = 0;  ///< among the ranks of this host: which of its devices to take
  int local_size = 1;
  bool tf32 = false;  ///< fp32 products may round their factors to tf32
  AttentionChoice attention = AttentionChoice::Auto;
  /// The cpu backend asks it for the memory of Backend::allocate_for_communication, which is then a
  /// collective.
  Communicator* communicator = nullptr;
};

/// Names that make_backend can make here, fastest first: of "cuda", "cpu", "reference" and "cuda-emulated"
/// those whose code is in this build and whose device is there.
std::vector<std::string> backend_names();

/// "auto" takes the first of backend_names(). A name that is known but absent here, or unknown, is an
/// InputError that says what is missing, how to get it, and what is there. So is a processor without the
/// instruction sets that this build is made for, whatever the name.
std::unique_ptr<Backend> make_backend(const std::string& name, const BackendOptions& options = {});

/// A backend that allocates nothing and only counts what it is asked for.
class PlannedMemory : public Backend {
 public:
  /// Of allocate_host so far, which memory_use() leaves out.
  virtual std::size_t host_bytes() const = 0;
  /// Of allocate_for_communication so far, which memory_use() has too.
  virtual std::size_t communication_bytes() const = 0;
};

/// The backend of that name for planning: a run can be built on it, and not one step made. Errors as of
/// make_backend: workspaces and libraries are asked where they are.
std::unique_ptr<PlannedMemory> make_planned_memory(const std::string& name,
                                                   const BackendOptions& options = {});

/// Whether `device = "cuda-emulated"` can be had here.
bool has_emulated_cuda();
/// Whether BackendOptions::attention means something to this backend ("auto": to the one that it takes). For
/// the others make_backend takes Auto alone; anything else is an InputError.
bool chooses_attention(const std::string& name);

/// Why `device = "cuda"` cannot be had here, in one line with the remedy; empty when it can.
std::string cuda_absence();

}  // namespace plumb
