#include "signals.h"

#include <csignal>

namespace plumb {
namespace {
volatile std::sig_atomic_t received = 0;
void remember(int signal) { received = signal; }
}  // namespace

void install_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = remember;
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
}

int stop_signal() { return received; }

}  // namespace plumb
