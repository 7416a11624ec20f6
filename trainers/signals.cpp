#include "signals.h"

#include <pthread.h>

#include <csignal>
#include <ctime>

namespace plumb {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGUSR1);
  return set;
}

int received = 0;

}  // namespace

void install_stop_signals() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

int stop_signal() {
  if (received == 0) {
    const sigset_t set = stop_signals();
    const timespec no_wait{0, 0};
    const int signal = sigtimedwait(&set, nullptr, &no_wait);
    if (signal > 0) received = signal;
  }
  return received;
}

}  // namespace plumb
