// EventSubject: what an event of a run is about, as fields of its line beside the text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace plumb {

/// What is empty or negative is left out.
struct EventSubject {
  std::vector<int> ranks;            ///< those concerned, ascending
  std::vector<std::string> hosts;    ///< of these ranks, in their order
  std::string tensor;                ///< by its name; of several the first, or the one that shows it most
  std::int64_t first_sequence = -1;  ///< of the data order, that the first of `ranks` read in the step
  std::int64_t sequences = 0;        ///< how many it read, from there on
};

}  // namespace plumb
