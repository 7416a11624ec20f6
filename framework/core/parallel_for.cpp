#include "core/parallel_for.h"

#include <omp.h>
#include <sched.h>

namespace plumb {

int thread_count() { return std::max(1, omp_get_max_threads()); }

void set_thread_count(int threads) {
  omp_set_dynamic(0);
  omp_set_num_threads(std::max(1, threads));
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

namespace detail {
void run_on_threads(int threads, void (*body)(void* context, int thread), void* context) {
#pragma omp parallel num_threads(threads)
  {
    // A nested or limited region may give fewer threads than asked for; every chunk is still run.
    const int given = omp_get_num_threads();
    for (int chunk = omp_get_thread_num(); chunk < threads; chunk += given) body(context, chunk);
  }
}
}  // namespace detail

}  // namespace plumb
