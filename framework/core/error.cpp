#include "core/error.h"

namespace plumb {
namespace {
ProcessIdentity& identity_storage() {
  static ProcessIdentity identity;
  return identity;
}
}  // namespace

void set_process_identity(ProcessIdentity identity) { identity_storage() = std::move(identity); }

const ProcessIdentity& process_identity() { return identity_storage(); }

void fail_check(const char* expression, const char* file, int line, const std::string& message) {
  const ProcessIdentity& where = process_identity();
  throw Error(fmt::format("{}:{}: {} (check '{}' failed, rank {} of {}{}{})", file, line, message, expression,
                          where.rank, where.world, where.host.empty() ? "" : ", host ", where.host));
}

}  // namespace plumb
