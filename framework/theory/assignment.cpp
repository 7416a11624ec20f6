#include "theory/assignment.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace plumb {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::size_t kNobody = static_cast<std::size_t>(-1);

/// Workers join one by one. Potentials keep every reduced cost cost - of_worker - of_job at 0 or above, and
/// at 0 on chosen pairs, so that a choice that covers all is a cheapest one.
class Matching {
 public:
  Matching(std::span<const double> cost, std::size_t n)
      : cost_(cost), n_(n), of_worker_(n, 0.0), of_job_(n, 0.0), worker_of_(n, kNobody) {}

  /// Shortest path over reduced costs (Dijkstra) from the worker to a free job; the choices along it move on.
  void add(std::size_t worker) {
    std::vector<double> distance(n_, kInfinity);
    std::vector<std::size_t> before(n_, kNobody);  // the job on the path before each; none: the new worker
    std::vector<bool> done(n_, false);
    std::size_t last = kNobody, current = worker;
    double length = 0;
    while (true) {
      for (std::size_t job = 0; job < n_; ++job) {
        if (done[job]) continue;
        const double through = length + cost_[current * n_ + job] - of_worker_[current] - of_job_[job];
        if (through < distance[job]) {
          distance[job] = through;
          before[job] = last;
        }
      }
      last = nearest(distance, done);
      length = distance[last];
      done[last] = true;
      if (worker_of_[last] == kNobody) break;
      current = worker_of_[last];
    }
    of_worker_[worker] += length;
    for (std::size_t job = 0; job < n_; ++job) {
      if (!done[job] || job == last) continue;
      of_worker_[worker_of_[job]] += length - distance[job];
      of_job_[job] -= length - distance[job];
    }
    while (before[last] != kNobody) {
      worker_of_[last] = worker_of_[before[last]];
      last = before[last];
    }
    worker_of_[last] = worker;
  }

  const std::vector<std::size_t>& worker_of() const { return worker_of_; }

 private:
  std::size_t nearest(const std::vector<double>& distance, const std::vector<bool>& done) const {
    std::size_t best = kNobody;
    for (std::size_t job = 0; job < n_; ++job) {
      if (!done[job] && (best == kNobody || distance[job] < distance[best])) best = job;
    }
    return best;
  }

  std::span<const double> cost_;
  std::size_t n_;
  std::vector<double> of_worker_, of_job_;
  std::vector<std::size_t> worker_of_;
};

}  // namespace

Assignment cheapest_assignment(std::span<const double> cost, std::int64_t n) {
  const auto count = static_cast<std::size_t>(n);
  PLUMB_CHECK(cost.size() == count * count, "{} costs for {} workers", cost.size(), n);
  PLUMB_CHECK(std::all_of(cost.begin(), cost.end(), [](double c) { return std::isfinite(c); }),
              "a cost is not finite");
  Matching matching(cost, count);
  for (std::size_t worker = 0; worker < count; ++worker) matching.add(worker);
  Assignment result{std::vector<std::int64_t>(count), 0};
  for (std::size_t job = 0; job < count; ++job) {
    const std::size_t worker = matching.worker_of()[job];
    result.job_of[worker] = static_cast<std::int64_t>(job);
    result.cost += cost[worker * count + job];
  }
  return result;
}

}  // namespace plumb
