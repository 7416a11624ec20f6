#include "host/device_fault.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include "host/device_memory.h"
#include "host/environment.h"

namespace plumb::emulation {
namespace {

struct sigaction usual_course;
const char* operation = nullptr;

void explain(int signal, siginfo_t* information, void*) {
  const void* address = information->si_addr;
  if (device_memory().covers(address)) {
    const std::string where = device_memory().describe(address, 1);
    const std::string line =
        operation == nullptr ? fmt::format("[emulated GPU, rank {}] host code touched device memory: {}\n",
                                           process_rank(), where)
                             : fmt::format("[emulated GPU, rank {}] stream operation '{}' touched {}\n",
                                           process_rank(), operation, where);
    static_cast<void>(!write(STDERR_FILENO, line.data(), line.size()));
  }
  // The instruction runs again and faults again, now under the handler that was there before.
  sigaction(signal, &usual_course, nullptr);
}

}  // namespace

void explain_device_faults() {
  struct sigaction handler {};
  handler.sa_sigaction = explain;
  handler.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &handler, &usual_course);
}

void set_running_operation(const char* name) { operation = name; }
const char* running_operation() { return operation; }

}  // namespace plumb::emulation
