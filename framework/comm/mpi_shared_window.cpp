#include "comm/mpi_shared_window.h"

#include <sys/mman.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <cstring>
#include <exception>

#include "comm/mpi_check.h"

namespace plumb {
namespace {
/// What MPI gives begins somewhere in a page (Open MPI 4.1 puts 264 bytes of its own before it), in the same
/// place of it for every process.
constexpr std::size_t kPage = 4096;

std::byte* page_from(void* memory) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  return reinterpret_cast<std::byte*>((address + kPage - 1) / kPage * kPage);
}
}  // namespace

bool MpiSharedWindow::has_room(std::size_t bytes) {
  struct statvfs facts {};
  // Elsewhere MPI takes its session folder, on a disk.
  if (statvfs("/dev/shm", &facts) != 0) return true;
  // Open MPI asks for a twentieth more than it needs.
  constexpr double kMargin = 1.06, kSmall = 1 << 20;
  const double free = static_cast<double>(facts.f_bavail) * static_cast<double>(facts.f_frsize);
  return kMargin * static_cast<double>(bytes) + kSmall < free;
}

std::unique_ptr<MpiSharedWindow> MpiSharedWindow::make(MPI_Comm host, std::size_t bytes) {
  MPI_Info info = MPI_INFO_NULL;
  PLUMB_MPI(MPI_Info_create(&info));
  // Each segment begins with a page, which is then on the memory node of the rank that touches it first.
  PLUMB_MPI(MPI_Info_set(info, "alloc_shared_noncontig", "true"));
  void* base = nullptr;
  MPI_Win window = MPI_WIN_NULL;
  const int made =
      MPI_Win_allocate_shared(static_cast<MPI_Aint>(bytes + kPage), 1, info, host, &base, &window);
  MPI_Info_free(&info);
  std::unique_ptr<MpiSharedWindow> result;
  if (made == MPI_SUCCESS) result.reset(new MpiSharedWindow(window, bytes));
  // Freeing one is a collective too, so that no rank may give it up alone.
  int is_there = result != nullptr && result->map(host) ? 1 : 0;
  PLUMB_MPI(MPI_Allreduce(MPI_IN_PLACE, &is_there, 1, MPI_INT, MPI_MIN, host));
  if (is_there == 0) return nullptr;
  // Advice only, as for other memory.
  madvise(page_from(base), bytes, MADV_HUGEPAGE);
  std::memset(page_from(base), 0, bytes);
  return result;
}

/// False where ranks would not see what others store, or a segment is not there.
bool MpiSharedWindow::map(MPI_Comm host) {
  int* model = nullptr;
  int has_model = 0, ranks = 0;
  MPI_Win_get_attr(window_, MPI_WIN_MODEL, static_cast<void*>(&model), &has_model);
  if (!has_model || *model != MPI_WIN_UNIFIED) return false;
  PLUMB_MPI(MPI_Comm_size(host, &ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    MPI_Aint size = 0;
    int unit = 0;
    void* base = nullptr;
    if (MPI_Win_shared_query(window_, rank, &size, &unit, static_cast<void*>(&base)) != MPI_SUCCESS)
      return false;
    std::byte* segment = page_from(base);
    if (static_cast<std::byte*>(base) + size < segment + bytes_) return false;
    segments_.push_back(segment);
  }
  return true;
}

MpiSharedWindow::~MpiSharedWindow() {
  if (window_ != MPI_WIN_NULL && std::uncaught_exceptions() == 0) MPI_Win_free(&window_);
}

}  // namespace plumb
