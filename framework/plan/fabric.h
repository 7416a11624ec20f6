// Fabric: how fast ranks compute and talk, as `plumb doctor --bandwidth` measured it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace plumb {

/// A transfer of n bytes over a link, used in one way, takes latency + n * seconds_per_byte (Hockney,
/// Parallel Computing 20(3), 1994: alpha and beta). Bytes are those of one direction.
struct LinkSpeed {
  static constexpr double kNeedsNoPolls = 1e9;
  double latency = 0;           ///< seconds
  double seconds_per_byte = 0;  ///< 1 / bandwidth
  /// Of the time of a collective over this link, the part that goes on beside computing (0 to 1): 0 where the
  /// core that computes does all the work.
  double hidden = 0;
  /// Seconds by which a collective moves on at one call of progress() by ranks that compute in between; it
  /// does not move without them. Large: it needs none, or so little of it is hidden that it was not measured.
  double per_poll = kNeedsNoPolls;
  double worst_residual = 0;  ///< largest relative difference of the fitted line from what was measured
};

/// One link used in the ways in which training uses it. They do not fill it alike: the pieces of a sum for
/// all come back after they have gone up a tree, rows that are reduced to their owners go in both directions
/// at once and do not come back, and rows that are gathered are not added. Inside a host MPI's reduction to
/// owners is a sum for all (docs/design/communication.md).
struct Link {
  LinkSpeed sums{}, to_owners{}, gathers{};
};

struct LinkWay {
  std::string_view name;  ///< in the file
  LinkSpeed Link::*speed;
};
inline constexpr LinkWay kSums{"sums", &Link::sums}, kToOwners{"to_owners", &Link::to_owners},
    kGathers{"gathers", &Link::gathers};
inline constexpr LinkWay kLinkWays[] = {kSums, kToOwners, kGathers};

enum class CollectiveLibrary { Mpi, Nccl };

struct Fabric {
  CollectiveLibrary library = CollectiveLibrary::Mpi;  ///< whose algorithms the speeds were fitted with
  int ranks = 1, hosts = 1;                            ///< that measured it, equally many ranks a host
  std::optional<Link> inside;                          ///< between ranks of a host
  std::optional<Link> between;                         ///< between hosts; all ranks of a host share it
  double flops_per_second = 0;  ///< of a rank while all ranks of its host compute: an fp32 product

  int ranks_per_host() const { return ranks / hosts; }
};

std::string fabric_json(const Fabric& fabric);
/// InputError, one line with the file's name and the key, for a text that is no JSON, or has a key that is
/// unknown, missing, of another type or out of range.
Fabric parse_fabric(const std::string& file, const std::string& text);
/// The text of a file; InputError when it cannot be read.
std::string fabric_text(const std::filesystem::path& path);

}  // namespace plumb
